"""Host floor 3: student -> ONNX -> TFLite -> verified model bundle."""
