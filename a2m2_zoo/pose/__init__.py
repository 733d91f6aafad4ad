"""People and their joints in the frames of a clip, by the embedded BlazePose."""
