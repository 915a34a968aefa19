"""Lines of an update, done wrong, and the tests that have to notice (`mutations.py`)."""

from typing import NamedTuple

REFERENCE = "tests/test_reference.py -k plain"


class Mutation(NamedTuple):
    what: str
    file: str
    old: str
    new: str
    tests: str = REFERENCE


NC_LQL = "algorithms/nc_lql.py"
LQL = "algorithms/lql.py"
DIFFUSION_QL = "algorithms/diffusion_ql.py"
OF_DIFFUSION_QL = "tests/test_diffusion_ql.py -k 'plain or divided'"
SAC = "algorithms/sac.py"
OF_SAC = "tests/test_sac.py -k 'hand or entropy or gradient or rate'"
PPO = "algorithms/ppo.py"
OF_PPO = "tests/test_ppo.py -k 'hand or clipping or standardised or truncation'"
LANGEVIN = "algorithms/langevin.py"
NETWORKS = "algorithms/networks.py"

MUTATIONS = [
    Mutation(
        "NC-LQL: smoothing regresses on the twins after the TD step",
        NC_LQL,
        "batch.observation, noisy_action, noise.level, clean_value",
        "batch.observation, noisy_action, noise.level,"
        " self.critics(batch.observation, batch.action, finest).detach().mean(0)",
    ),
    Mutation(
        "NC-LQL: smoothing steps before TD",
        NC_LQL,
        """        if own.update_steps == "separate":
            metrics["td_gradient_norm"] = self.step(loss)
        if own.conditioning:
            smoothing, _ = self.regression_loss(
                batch.observation, noisy_action, noise.level, clean_value
            )
            metrics["smoothing_loss"] = smoothing / 2
            loss = loss + smoothing if own.update_steps == "joint" else smoothing
""",
        """        smoothing, _ = self.regression_loss(
            batch.observation, noisy_action, noise.level, clean_value
        )
        metrics["smoothing_loss"] = smoothing / 2
        metrics["td_gradient_norm"] = self.step(smoothing)
        loss, _ = self.regression_loss(batch.observation, batch.action, finest, target)
""",
    ),
    Mutation(
        "NC-LQL: one joint step instead of two",
        NC_LQL,
        'update_steps: Literal["separate", "joint"] = "separate"',
        'update_steps: Literal["separate", "joint"] = "joint"',
    ),
    Mutation(
        "NC-LQL: chain on the target critics",
        NC_LQL,
        "levels = self.critics.conditioning(",
        "levels = self.target_critics.conditioning(",
    ),
    Mutation(
        "NC-LQL: TD target from the online critics",
        NC_LQL,
        "value = self.target_critics(batch.next_observation",
        "value = self.critics(batch.next_observation",
    ),
    Mutation(
        "NC-LQL: mean instead of min of the target critics",
        NC_LQL,
        "next_action, finest).amin(0)",
        "next_action, finest).mean(0)",
    ),
    Mutation(
        "NC-LQL: the noisy action is clipped",
        NC_LQL,
        "noisy_action = batch.action + self.sigmas[noise.level, None] * noise.perturbation",
        "noisy_action = (batch.action + self.sigmas[noise.level, None]"
        " * noise.perturbation).clamp(-1, 1)",
    ),
    Mutation(
        "NC-LQL: levels drawn over the finest too",
        NC_LQL,
        "coarse = max(self.configuration.noise_levels - 1, 1)",
        "coarse = self.configuration.noise_levels",
        "tests/test_nc_lql.py -k levels",
    ),
    Mutation(
        "NC-LQL: TD at the coarsest level",
        NC_LQL,
        "self.finest = own.noise_levels - 1 if own.conditioning else 0",
        "self.finest = 0",
    ),
    Mutation(
        "NC-LQL: bootstraps through termination",
        NC_LQL,
        "self.configuration.discount * (~batch.terminated) * value",
        "self.configuration.discount * value",
    ),
    Mutation(
        "NC-LQL: reward unscaled",
        NC_LQL,
        "self.configuration.reward_scale * batch.reward + future",
        "batch.reward + future",
    ),
    Mutation(
        "NC-LQL: gradient not normalised",
        NC_LQL,
        'is_normalised = own.gradient == "normalised"',
        "is_normalised = False",
    ),
    Mutation(
        "NC-LQL: targets not moved",
        NC_LQL,
        "polyak_update(self.target_critics, self.critics, own.target_rate)",
        "pass",
    ),
    Mutation(
        "NC-LQL: targets move between the two steps",
        NC_LQL,
        'metrics["td_gradient_norm"] = self.step(loss)',
        'metrics["td_gradient_norm"] = self.step(loss); '
        "polyak_update(self.target_critics, self.critics, own.target_rate)",
    ),
    Mutation(
        "NC-LQL: levels walked from fine to coarse",
        NC_LQL,
        '"annealed": list(range(own.noise_levels))',
        '"annealed": list(reversed(range(own.noise_levels)))',
    ),
    Mutation(
        "NC-LQL: smoothing trained one level finer than its noise",
        NC_LQL,
        "batch.observation, noisy_action, noise.level, clean_value",
        "batch.observation, noisy_action, noise.level + 1, clean_value",
    ),
    Mutation(
        "chain: drift without the half",
        LANGEVIN,
        "drift = (0.5 * dynamics.inverse_temperature)",
        "drift = (dynamics.inverse_temperature)",
        "tests/test_langevin.py -k quadratic",
    ),
    Mutation(
        "chain: noise scaled by the step size, not its root",
        LANGEVIN,
        "torch.sqrt(step_size) * noise",
        "step_size * noise",
        "tests/test_langevin.py -k quadratic",
    ),
    Mutation(
        "chain: no clipping",
        LANGEVIN,
        "return x.clamp(-1, 1)",
        "return x",
        "tests/test_langevin.py -k clipping",
    ),
    Mutation(
        "chain: norm over the batch",
        LANGEVIN,
        "torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)",
        "torch.linalg.vector_norm(gradient)",
    ),
    Mutation(
        "chain: step sizes grow with sigma, not its square",
        LANGEVIN,
        "(sigma / noise_levels[-1]) ** 2",
        "(sigma / noise_levels[-1])",
        "tests/test_langevin.py -k composes",
    ),
    Mutation(
        "critics: cosines before sines",
        NETWORKS,
        "torch.cat([phase.sin(), phase.cos()], dim=1)",
        "torch.cat([phase.cos(), phase.sin()], dim=1)",
    ),
    Mutation(
        "critics: derivative of Mish off",
        NETWORKS,
        "t + x * (4 * e * (e + 1)) * (d * d)",
        "t + x * (2 * e * (e + 1)) * (d * d)",
        "tests/test_networks.py",
    ),
    Mutation(
        "LQL: gradient of the sum, not of the mean",
        LQL,
        "self.critics.action_gradient(action, conditioning) / self.critics.copies",
        "self.critics.action_gradient(action, conditioning)",
        "tests/test_lql.py",
    ),
    Mutation(
        "LQL: chain on the target critics",
        LQL,
        "(conditioning,) = self.critics.conditioning(observation, self.precision)",
        "(conditioning,) = self.target_critics.conditioning(observation, self.precision)",
        "tests/test_lql.py",
    ),
    Mutation(
        "LQL: mean instead of min of the target critics",
        LQL,
        "value = self.target_critics(batch.next_observation, next_action).amin(0)",
        "value = self.target_critics(batch.next_observation, next_action).mean(0)",
        "tests/test_lql.py",
    ),
    Mutation(
        "LQL: TD target from the online critics",
        LQL,
        "value = self.target_critics(batch.next_observation, next_action).amin(0)",
        "value = self.critics(batch.next_observation, next_action).amin(0)",
        "tests/test_lql.py",
    ),
    Mutation(
        "LQL: bootstraps through termination",
        LQL,
        "self.configuration.discount * (~batch.terminated) * value",
        "self.configuration.discount * value",
        "tests/test_lql.py",
    ),
    Mutation(
        "LQL: targets not moved",
        LQL,
        "polyak_update(self.target_critics, self.critics, self.configuration.target_rate)",
        "pass",
        "tests/test_lql.py",
    ),
    Mutation(
        "Diffusion-QL: target action from the online actor",
        DIFFUSION_QL,
        "next_action = self.sample(self.actor_average, next_observation",
        "next_action = self.sample(self.actor, next_observation",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: the other side of the coin",
        DIFFUSION_QL,
        "torch.stack([coin <= 0.5, coin > 0.5])",
        "torch.stack([coin > 0.5, coin <= 0.5])",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: mean instead of min of the target critics",
        DIFFUSION_QL,
        "value = self.target_critics(next_observation, next_action).amin(0)",
        "value = self.target_critics(next_observation, next_action).mean(0)",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: TD target from the online critics",
        DIFFUSION_QL,
        "value = self.target_critics(next_observation, next_action).amin(0)",
        "value = self.critics(next_observation, next_action).amin(0)",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: bootstraps through termination",
        DIFFUSION_QL,
        "self.configuration.discount * (~terminated) * value",
        "self.configuration.discount * value",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: the clean action is not clipped",
        "algorithms/diffusion.py",
        "alpha=c.noise / c.signal).clamp(-1, 1)",
        "alpha=c.noise / c.signal)",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: the actor descends Q",
        DIFFUSION_QL,
        "value_loss = -value.mean()",
        "value_loss = value.mean()",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: scale is |mean Q|, not mean |Q|",
        DIFFUSION_QL,
        "scale.abs().mean()",
        "scale.mean().abs()",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: the average moves at the wrong rate",
        DIFFUSION_QL,
        "polyak_update(self.actor_average, self.actor, 1 - c.actor_average_rate)",
        "polyak_update(self.actor_average, self.actor, c.actor_average_rate)",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: the average moves at every update",
        DIFFUSION_QL,
        "self.updates % c.actor_average_every == 0",
        "True",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "Diffusion-QL: targets not moved",
        DIFFUSION_QL,
        "polyak_update(self.target_critics, self.critics, c.target_rate)",
        "pass",
        OF_DIFFUSION_QL,
    ),
    Mutation(
        "SAC: mean instead of min of the target critics",
        SAC,
        "value = self.target_critics(batch.next_observation, action).amin(0)",
        "value = self.target_critics(batch.next_observation, action).mean(0)",
        OF_SAC,
    ),
    Mutation(
        "SAC: no entropy in the TD target",
        SAC,
        "(value - alpha * log_probability)",
        "value",
        OF_SAC,
    ),
    Mutation(
        "SAC: bootstraps through termination",
        SAC,
        "future = ~batch.terminated * ",
        "future = ",
        OF_SAC,
    ),
    Mutation(
        "SAC: the coefficient moves the other way",
        SAC,
        "-self.temperature.log_alpha * excess",
        "self.temperature.log_alpha * excess",
        OF_SAC,
    ),
    Mutation(
        "SAC: targets not moved",
        SAC,
        "polyak_update(self.target_critics, self.critics, self.configuration.target_rate)",
        "pass",
        OF_SAC,
    ),
    Mutation(
        "PPO: a time limit is an end",
        PPO,
        "discount * ~terminated * next_value",
        "discount * ~ended * next_value",
        OF_PPO,
    ),
    Mutation(
        "PPO: errors of the next episode reach into the one before",
        PPO,
        "decay = discount * trace_decay * ~ended",
        "decay = discount * trace_decay * torch.ones_like(reward)",
        OF_PPO,
    ),
    Mutation(
        "PPO: likelihood of the clipped action",
        PPO,
        "action = transition.action if self.drawn is None else self.drawn",
        "action = transition.action",
        OF_PPO,
    ),
    Mutation(
        "PPO: the ratio is not clipped",
        PPO,
        "-torch.min(ratio * advantage, clipped * advantage).mean()",
        "-(ratio * advantage).mean()",
        OF_PPO,
    ),
    Mutation(
        "PPO: advantages as they are",
        PPO,
        "advantage = standardised(minibatch.advantage)",
        "advantage = minibatch.advantage",
        OF_PPO,
    ),
]
