"""Updates of busi-kd itself: signed files, slots beside one another, and a switch that goes back (docs/updates.md)."""
