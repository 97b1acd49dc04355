"""The ground floor of busi-kd: what runs at the bedside, and the definitions host and Pi must share.

Nothing heavier than numpy, OpenCV and the TFLite interpreter is imported here; torch and tensorflow are not needed.
"""

__version__ = "0.1.0"

RESEARCH_NOTICE = "Research use only. Not a medical device, never a diagnosis."
