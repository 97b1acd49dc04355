"""The peer that int8-full is measured against: Google's ai-edge-quantizer, in an environment of its own."""
