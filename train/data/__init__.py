"""Reading pictures and masks, splitting without leaks."""
