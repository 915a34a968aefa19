"""Agents as they are timed: the networks of a run, on data that are noise."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from algorithms import algorithm
from algorithms.agent import Agent, Run, Spaces, Transition
from algorithms.device import generator_on, sampling_dtype
from algorithms.randomness import agent_generators
from analysis.probes.products import ACTING, LEARNING, Product, Sizes, flops, langevin_chain
from analysis.probes.timing import Case, products_only

HALF_CHEETAH = Spaces(17, 6)
ENVIRONMENTS = 5
TRANSITIONS = 300_000
PPO_LAYERS = 2
CHAINS = ("lql", "nc_lql")
"""Methods whose chain can be timed alone."""
SETTING_OF = {"batch": "batch_size", "layers": "hidden_layers", "steps": "denoising_steps"}


def make(
    name: str,
    device: torch.device,
    spaces: Spaces = HALF_CHEETAH,
    environments: int = ENVIRONMENTS,
    compile: bool = True,
    **settings: Any,
) -> Agent:
    """An agent that may learn at once: no warm-up. Its replay is small unless settings say else."""
    cls = algorithm(name)
    run = Run(environments, TRANSITIONS, 0, 1, compile)
    generators = agent_generators(device, 0)
    if hasattr(cls.Configuration, "replay_capacity"):
        settings = {"replay_capacity": 10_000} | settings
    return cls(cls.Configuration(**settings), spaces, run, device, generators)


def precisions(name: str, device: torch.device) -> list[str]:
    """Precisions of its chain's products that an algorithm has and the device does natively."""
    if not hasattr(algorithm(name).Configuration, "sampling_precision"):
        return ["float32"]
    native = sampling_dtype("auto", device) == torch.bfloat16
    return ["float32", "bfloat16"] if native else ["float32"]


def settings_for(name: str, precision: str) -> dict[str, Any]:
    """Settings that ask for a precision, where the algorithm has a choice."""
    has_choice = hasattr(algorithm(name).Configuration, "sampling_precision")
    return {"sampling_precision": precision} if has_choice else {}


def sizes_of(agent: Agent, name: str) -> Sizes:
    """What `products` needs to know of an agent."""
    c = agent.configuration
    common = (agent.spaces.observation_size, agent.spaces.action_size)
    if name == "ppo":
        rows = agent.rollout_steps * agent.run.environments
        sizes = Sizes(*common, batch=rows, width=c.hidden_width, layers=PPO_LAYERS)
        return sizes._replace(
            epochs=c.epochs, minibatches=agent.parts, environments=agent.run.environments
        )
    # A method that is not known here may lack any of them.
    batch, width, layers = (
        getattr(c, field, 0) for field in ("batch_size", "hidden_width", "hidden_layers")
    )
    sizes = Sizes(*common, batch=batch, width=width, layers=layers)
    if name == "diffusion_ql":
        return sizes._replace(steps=c.denoising_steps, candidates=c.candidates)
    if name == "lql":
        return sizes._replace(steps=c.chain_steps)
    if name == "nc_lql":
        return sizes._replace(steps=c.noise_levels * c.steps_per_level)
    return sizes


class Feed:
    """Vector steps of an environment that does not exist: normal observations, no ends."""

    def __init__(self, agent: Agent):
        self.agent = agent
        self.generator = generator_on(agent.device, 1)
        self.observation = self.normal(agent.spaces.observation_size)

    def normal(self, *shape: int) -> torch.Tensor:
        """(environments, *shape)"""
        shape = (self.agent.run.environments, *shape)
        return torch.randn(shape, generator=self.generator, device=self.agent.device)

    def step(self) -> None:
        """One vector step, as the loop does it, without `learn`."""
        agent, observation = self.agent, self.observation
        action = agent.act(observation, explore=True)
        self.observed(observation, action)

    def random_step(self) -> None:
        """The same with actions that no policy drew."""
        action = self.normal(self.agent.spaces.action_size).clamp(-1, 1)
        self.observed(self.observation, action)

    def observed(self, observation: torch.Tensor, action: torch.Tensor) -> None:
        no = torch.zeros(len(observation), dtype=torch.bool, device=self.agent.device)
        self.observation = self.normal(self.agent.spaces.observation_size)
        self.agent.observe(Transition(observation, action, self.normal(), no, no, self.observation))


def normal_observations(agent: Agent, rows: int) -> torch.Tensor:
    """(rows, observation), standard normal."""
    shape = (rows, agent.spaces.observation_size)
    generator = generator_on(agent.device, 3)
    return torch.randn(shape, generator=generator, device=agent.device)


def learner(agent: Agent, name: str) -> tuple[Callable[[], Any], Callable[[], None] | None]:
    """`learn` with something to do at every call, and what has to come before it, if anything."""
    feed = Feed(agent)
    if name == "ppo":
        for _ in range(agent.rollout_steps):
            feed.step()
        steps = list(agent.rollout.steps)

        def refill() -> None:
            agent.transitions = 0  # the learning rate falls over a run, and must not end at zero
            agent.rollout.steps = list(steps)

        return agent.learn, refill
    if not hasattr(agent, "replay"):
        return agent.learn, _collector(agent, feed)
    while agent.replay.size < 2 * agent.configuration.batch_size:
        feed.random_step()
    return agent.learn, None


def _collector(agent: Agent, feed: Feed) -> Callable[[], None]:
    """A function that collects as many vector steps as another method needs to learn at all."""
    needed = 1
    feed.step()
    while not agent.learn():
        feed.step()
        needed += 1

    def collect() -> None:
        for _ in range(needed - 1):
            feed.step()
            agent.learn()
        feed.step()

    return collect


def about(
    agent: Agent, name: str, quantity: str, products: list[Product], **more: Any
) -> dict[str, Any]:
    """What the record says of a case."""
    precision = getattr(agent.configuration, "sampling_precision", "float32")
    counted = {"float32": flops(products, is_sampling=False)}
    counted[precision] = counted.get(precision, 0) + flops(products, is_sampling=True)
    return {
        "algorithm": name,
        "quantity": quantity,
        "precision": precision,
        "compiled": agent.run.compile,
        "sizes": sizes_of(agent, name)._asdict() | {"environments": agent.run.environments},
        "flops": counted,
        "units": 1,
        **more,
    }


def learn_case(prefix: str, agent: Agent, name: str, **more: Any) -> Case:
    """One `learn`: an update from replay, or PPO's fit of a rollout."""
    run, prepare = learner(agent, name)
    products = LEARNING[name](sizes_of(agent, name)) if name in LEARNING else []
    described = about(agent, name, "learn", products, **more)
    unit = "fit of a rollout" if name == "ppo" else "update"
    return Case(_name(prefix, described), described | {"unit": unit}, run, prepare)


def act_case(prefix: str, agent: Agent, name: str, **more: Any) -> Case:
    """Exploring actions for one observation of each environment."""
    observation = Feed(agent).observation
    rows = len(observation)
    products = ACTING[name](sizes_of(agent, name), rows) if name in ACTING else []
    described = about(agent, name, "act", products, **more)
    described |= {"units": rows, "unit": "action"}
    return Case(_name(prefix, described), described, lambda: agent.act(observation, explore=True))


def chain_case(prefix: str, agent: Agent, name: str, **more: Any) -> Case:
    """The chain of an update alone, from noise that is at hand."""
    sizes, generator = sizes_of(agent, name), generator_on(agent.device, 2)
    shape = (sizes.batch, sizes.observation)
    observation = torch.randn(shape, generator=generator, device=agent.device)
    noise = agent.draw_chain_noise(sizes.batch, generator)
    described = about(agent, name, "chain", langevin_chain(sizes, sizes.batch), **more)
    described |= {"units": sizes.batch, "unit": "action"}
    return Case(_name(prefix, described), described, lambda: agent.sample(observation, noise))


def products_case(prefix: str, agent: Agent, name: str, **more: Any) -> Case:
    """The matrix products of one `learn` and nothing else."""
    products = LEARNING[name](sizes_of(agent, name))
    described = about(agent, name, "products", products, **more) | {"compiled": False}
    described |= {"unit": "update"}
    run = products_only(products, described["precision"], agent.device)
    return Case(_name(prefix, described), described, run)


def _name(prefix: str, described: Mapping[str, Any]) -> str:
    parts = [prefix, described["algorithm"], described["quantity"], described["precision"]]
    parts.append("compiled" if described["compiled"] else "eager")
    if "parameter" in described:
        parts.append(f"{described['parameter']}={described['value']}")
    return "/".join(parts)


def growth_case(prefix: str, name: str, parameter: str, value: int, device: torch.device) -> Case:
    """`learn` with one size changed, or `act` on so many environments; compiled, in float32."""
    settings, spaces, environments = settings_for(name, "float32"), HALF_CHEETAH, ENVIRONMENTS
    if parameter == "environments":
        environments = value
    elif parameter == "action":
        spaces = Spaces(HALF_CHEETAH.observation_size, value)
    elif parameter == "steps" and name == "nc_lql":
        settings |= steps_of_ladder(value)
    else:
        settings[SETTING_OF[parameter]] = value
    agent = make(name, device, spaces, environments, **settings)
    more = {"parameter": parameter, "value": value}
    case = act_case if parameter == "environments" else learn_case
    return case(prefix, agent, name, **more)


def steps_of_ladder(steps: int) -> dict[str, int]:
    """NC-LQL's settings for a chain of so many steps: two a level where that comes out even."""
    steps_per_level = 2 if steps % 2 == 0 else 1
    return {"noise_levels": steps // steps_per_level, "steps_per_level": steps_per_level}
