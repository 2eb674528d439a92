"""The Gaussian of WS-CMA-ES, written down as the paper has it, in the unit box.

Source: M. Nomura et al., AAAI 2021, arXiv:2012.06932, Sec. 4.2: gamma = 0.1, alpha = 0.1.
"""

import numpy as np


def promising(X, F, gamma=0.1, alpha=0.1):
    """X: (k, n) in [0, 1]^n. Returns: mean (n,), sigma, C (n, n) with det C = 1."""
    pairs = sorted(zip(F, range(len(F)), strict=True))
    count = int(gamma * len(F))
    top = [X[i] for _, i in pairs[:count]]
    n = len(top[0])
    mean = np.zeros(n)
    for x in top:
        mean = mean + x / count
    Sigma = np.zeros((n, n))
    for x in top:
        Sigma = Sigma + (alpha**2 * np.eye(n) + np.outer(x, x)) / count
    Sigma = Sigma - np.outer(mean, mean)
    determinant = np.linalg.det(Sigma)
    return mean, determinant ** (1 / (2 * n)), Sigma / determinant ** (1 / n)
