"""What a trained network's answers teach another one."""

import torch.nn.functional as F
from torch import Tensor


def distillation_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Mean divergence of a batch's answers (B, C) from those of its teacher, in nats, times temperature².

    Kullback-Leibler of softened answers (Hinton et al., 2015, arXiv 1503.02531), as Tian et al. (ECCV 2020)
    use it for few-shot backbones. The factor keeps gradients as large as without a temperature. Classes that
    are excluded for an image have logits of -inf in `logits`, and are then excluded from both.

    Args:
        logits: (B, C).
        taught: (B, C), no gradients.
        temperature: above 0.
    """
    out = logits.isneginf()
    soft = F.softmax(taught.masked_fill(out, -float("inf")) / temperature, -1)
    log_p = F.log_softmax(logits / temperature, -1).masked_fill(out, 0.0)
    entropy = -(soft * soft.clamp_min(1e-30).log()).sum(-1)
    return temperature**2 * (-(soft * log_p).sum(-1) - entropy).mean()
