"""Host floor 2: data, splits, teacher, student, distillation, evaluation."""
