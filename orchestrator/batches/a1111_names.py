"""What AUTOMATIC1111's web UI calls samplers and schedules, and what ComfyUI calls them.

From `modules/sd_samplers_kdiffusion.py`, `sd_samplers_timesteps.py` and `sd_schedulers.py` of the web UI.
"""

from __future__ import annotations

import re

from orchestrator.batches.suggestions import advice
from orchestrator.errors import UsageError

_SAMPLERS = {
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ SDE": "dpmpp_sde",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde_heun",
    "DPM++ 2S a": "dpmpp_2s_ancestral",
    "DPM++ 3M SDE": "dpmpp_3m_sde",
    "Euler a": "euler_ancestral",
    "Euler": "euler",
    "LMS": "lms",
    "Heun": "heun",
    "DPM2": "dpm_2",
    "DPM2 a": "dpm_2_ancestral",
    "DPM fast": "dpm_fast",
    "DPM adaptive": "dpm_adaptive",
    "DDIM": "ddim",
    "DDPM": "ddpm",
    "UniPC": "uni_pc",
    "LCM": "lcm",
}
_SCHEDULES = {
    "Karras": "karras",
    "Exponential": "exponential",
    "SGM Uniform": "sgm_uniform",
    "KL Optimal": "kl_optimal",
    "Simple": "simple",
    "Normal": "normal",
    "Uniform": "normal",
    "DDIM": "ddim_uniform",
    "Beta": "beta",
}
_AUTOMATIC = "automatic"
_COMFYUI = re.compile(r"[a-z0-9_]+")
"""What a name of ComfyUI's own looks like."""
_BY_NAME = {name.casefold(): known for name, known in _SAMPLERS.items()}
_BY_SCHEDULE = {name.casefold(): known for name, known in _SCHEDULES.items()}


def sampler_inputs(sampler: str, schedule: str = "") -> dict[str, str]:
    """What a sampler's name, with its schedule behind it or apart, sets: `sampler`, and `scheduler` where it says one.

    Names of ComfyUI are taken as they are. Errors: UsageError for one that ComfyUI has no counterpart of.
    """
    name, own = _parted(sampler.strip())
    found = _BY_NAME.get(name.casefold()) or (name if _COMFYUI.fullmatch(name) else None)
    if found is None:
        raise UsageError(f"no sampler of ComfyUI is known for {sampler!r}; {advice(name, _SAMPLERS)}")
    said = schedule.strip() if schedule.strip() and schedule.strip().casefold() != _AUTOMATIC else own
    return {"sampler": found} | ({"scheduler": _scheduler(said)} if said else {})


def checkpoint_name(said: str) -> str:
    """A checkpoint's name, without the digest that the web UI shows behind it."""
    return re.sub(r"\s*\[[0-9a-fA-F]{6,64}\]$", "", said.strip())


def _parted(sampler: str) -> tuple[str, str]:
    """`DPM++ 2M Karras`: the sampler and its schedule."""
    for schedule in _SCHEDULES:
        name = sampler[: -len(schedule)].rstrip()
        if sampler.casefold().endswith(f" {schedule.casefold()}") and name.casefold() in _BY_NAME:
            return name, schedule
    return sampler, ""


def _scheduler(said: str) -> str:
    found = _BY_SCHEDULE.get(said.casefold()) or (said if _COMFYUI.fullmatch(said) else None)
    if found is None:
        raise UsageError(f"no scheduler of ComfyUI is known for {said!r}; {advice(said, _SCHEDULES)}")
    return found
