"""The registry: name -> algorithm. A new algorithm is one file here and one line below."""

from importlib import import_module

ALGORITHMS = {
    "lql": "lql.LQL",
    "nc_lql": "nc_lql.NCLQL",
    "diffusion_ql": "diffusion_ql.DiffusionQL",
    "ppo": "ppo.PPO",
    "sac": "sac.SAC",
}


def algorithm(name: str):
    """The `Agent` subclass registered under `name`; imports its file only now.

    Raises KeyError for a name that is not registered, ImportError for a line that leads nowhere.
    """
    module, _, attribute = ALGORITHMS[name].partition(".")
    line = f'"{name}": "{ALGORITHMS[name]}" in algorithms/__init__.py'
    try:
        file = import_module(f"algorithms.{module}")
    except ImportError as error:
        raise ImportError(f"{line}: {module}.py cannot be imported: {error}") from error
    if not hasattr(file, attribute):
        raise ImportError(f"{line}: no '{attribute}' in {module}.py")
    return getattr(file, attribute)
