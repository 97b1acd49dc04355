"""One evaluation for everything: run folders and model bundles, with intervals, figures and a page."""
