"""What the methods are, for people who read a card."""

from __future__ import annotations

_OURS = "This is the implementation of a2m2_zoo, not the authors' own."

#: Name in the registry → its title, and where it comes from.
METHODS = {
    "a2m2": (
        "A²M²-Net",
        "The method is A²M²-Net (Gao, Wang, Zhang, Hu and Li, *Adaptively Aligned Multi-Scale Moment for "
        "Few-Shot Action Recognition*, IJCV 2025): clips are described by second-order moments at several "
        "scales and aligned by optimal transport. The authors have published neither code nor weights: "
        "**this is a reconstruction**, and its figures are not the paper's.",
    ),
    "protonet": (
        "Mean-pooled features",
        "A clip is the mean of its frames, compared by cosine (after Snell, Swersky and Zemel, *Prototypical "
        f"Networks for Few-shot Learning*, NeurIPS 2017). {_OURS}",
    ),
    "bimhm": (
        "Bi-MHM",
        "Frames are matched by the bidirectional mean Hausdorff metric of HyRSM (Wang et al., CVPR 2022). "
        f"{_OURS}",
    ),
    "otam": (
        "OTAM",
        "Frames are matched in order (Cao et al., *Few-Shot Video Classification via Temporal Alignment*, "
        f"CVPR 2020). {_OURS}",
    ),
    "deepemd": (
        "DeepEMD",
        "Frames are matched by the earth mover's distance, after a method for images (Zhang et al., "
        f"*DeepEMD*, CVPR 2020). {_OURS}",
    ),
    "trx": (
        "TRX",
        "Tuples of frames are matched by cross-attention (Perrett et al., *Temporal-Relational "
        f"CrossTransformers for Few-Shot Action Recognition*, CVPR 2021). {_OURS}",
    ),
    "strm": (
        "STRM",
        "TRX over enriched frames (Thatipelli et al., *Spatio-temporal Relation Modeling for Few-shot Action "
        f"Recognition*, CVPR 2022). {_OURS}",
    ),
    "hyrsm": (
        "HyRSM",
        "Wang et al., *Hybrid Relation Guided Set Matching for Few-shot Action Recognition*, CVPR 2022. "
        f"{_OURS}",
    ),
    "hyrsm++": (
        "HyRSM++",
        "HyRSM trained with a temporal coherence regulariser (Wang et al., *HyRSM++*, 2023). "
        + _OURS,
    ),
    "molo": (
        "MoLo",
        "Wang et al., *MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action "
        f"Recognition*, CVPR 2023. {_OURS}",
    ),
    "clip-fsar": (
        "CLIP-FSAR",
        "Wang et al., *CLIP-guided Prototype Modulating for Few-shot Action Recognition*, IJCV 2024. "
        + _OURS,
    ),
}
