"""Networks of luma (N, 1, H, W) 0..255 whose answer is one logit per place: positive on a lesion."""
