"""Few-shot image classification by meta-transfer learning, with hard-task resampling."""
