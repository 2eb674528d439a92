"""CMA-ES with Margin (Hamano et al., GECCO 2022) and integer centering (Marty et al., PPSN 2024),
one variable and one candidate at a time, as the authors' codes have them."""

from __future__ import annotations

import math
from statistics import NormalDist

NORMAL = NormalDist()


def chi2_quantile(q):
    """Of one degree of freedom: the square of a standard normal number is below it with
    probability q."""
    return NORMAL.inv_cdf((1 + q) / 2) ** 2


def corrected(mean, sigma, C_ii, A, low, high, alpha):
    """Mean and A of one variable after the margin correction.

    low, high: ends of the cell that the mean lies in, None where there is none.
    """
    std = sigma * A * math.sqrt(C_ii)
    if low is None or high is None:
        end = high if low is None else low
        sign = -1 if low is None else 1
        probability = NORMAL.cdf(sign * (end - mean) / std)
        if probability < alpha:
            distance = sigma * A * math.sqrt(chi2_quantile(1 - 2 * alpha) * C_ii)
            mean = end + sign * distance
        return mean, A
    p_low = NORMAL.cdf((low - mean) / std)
    p_up = 1 - NORMAL.cdf((high - mean) / std)
    p_mid = 1 - (p_low + p_up)
    p_low, p_up = max(p_low, alpha / 2), max(p_up, alpha / 2)
    delta = 1 - p_low - p_up - p_mid
    rest = p_low + p_mid + p_up - 3 * alpha / 2
    new_low = p_low + delta * (p_low - alpha / 2) / rest
    new_up = p_up + delta * (p_up - alpha / 2) / rest
    q_low = math.sqrt(chi2_quantile(1 - 2 * new_low))
    q_up = math.sqrt(chi2_quantile(1 - 2 * new_up))
    A = (high - low) / ((q_low + q_up) * sigma * math.sqrt(C_ii))
    mean = (low * q_up + high * q_low) / (q_low + q_up)
    return mean, A


def centred(column, mean):
    """Values of one variable of the parents, on whole numbers, after integer centering."""
    middle = round(mean)
    bias = room_up = room_down = 0.0
    for value in column:
        if round(value) != middle:
            bias += round(value) - value
        elif value < middle:
            room_up += middle - value
        else:
            room_down += value - middle
    after = []
    for value in column:
        if round(value) != middle:
            value = float(round(value))
        elif bias > 0 and value > middle:
            value -= min(1, bias / room_down) * (value - middle)
        elif bias < 0 and value < middle:
            value += min(1, -bias / room_up) * (middle - value)
        after.append(value)
    return after
