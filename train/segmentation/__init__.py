"""Where the lesion is: networks that outline it, how they are taught by others, and what their outlines are worth."""
