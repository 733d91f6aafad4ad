"""A page to try it: collect classes, ask for one clip, spot in a longer video.

``engine`` and ``session`` know nothing of the page, ``view`` writes its HTML, ``layout`` puts it together
with Gradio, ``guard`` stands before it and ``serve`` runs it.
"""
