"""How algorithms and their variants are called for a reader."""

NAMES = {
    "lql": "LQL",
    "nc_lql": "NC-LQL",
    "diffusion_ql": "Diffusion-QL",
    "ppo": "PPO",
    "sac": "SAC",
}
"""As the field writes them; a new algorithm has the name it is registered by."""


def readable(label: str, base: str) -> str:
    """`Diffusion-QL, no cloning` of the variant `diffusion_ql_no_cloning`."""
    name = NAMES.get(base, base.replace("_", " "))
    if label == base:
        return name
    return f"{name}, {label.removeprefix(base).strip('_').replace('_', ' ')}"
