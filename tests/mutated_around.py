"""Lines around the updates, done wrong: how runs begin, act, normalise and are evaluated; and the
tests that have to notice (`mutations.py`)."""

from mutated import DIFFUSION_QL, NETWORKS, PPO, Mutation

LOOP = "algorithms/loop.py"
OF_LOOP = "tests/test_evaluation.py -k 'other_episodes or drawn_before'"
POLICIES = "algorithms/policies.py"
OF_BEGINNING = "tests/test_networks.py -k begin"
OF_ACTING = "tests/test_diffusion_ql.py -k 'softmax or candidates'"
OF_NORMALISING = "tests/test_ppo.py -k published"

AROUND = [
    Mutation(
        "loop: an evaluation draws on from the one before",
        LOOP,
        '        self.agent.generators["evaluation"].manual_seed(draws)\n',
        "",
        OF_LOOP,
    ),
    Mutation(
        "loop: every evaluation draws the same",
        LOOP,
        'child(c["seed"], "evaluation", self.evaluated)',
        'child(c["seed"], "evaluation", 0)',
        OF_LOOP,
    ),
    Mutation(
        "loop: every evaluation has the same episodes",
        LOOP,
        'evaluation_seeds(c["seed"], self.evaluated, c["evaluation_episodes"])',
        'evaluation_seeds(c["seed"], 0, c["evaluation_episodes"])',
        OF_LOOP,
    ),
    Mutation(
        "loop: every run is evaluated on the same episodes",
        LOOP,
        'evaluation_seeds(c["seed"], self.evaluated, c["evaluation_episodes"])',
        'evaluation_seeds(0, self.evaluated, c["evaluation_episodes"])',
        OF_LOOP,
    ),
    Mutation(
        "loop: all environments are one",
        LOOP,
        'integer_seed(child(c["seed"], "environments", i))',
        'integer_seed(child(c["seed"], "environments", 0))',
        OF_LOOP,
    ),
    Mutation(
        "loop: learns from the episodes of an evaluation",
        LOOP,
        '        seeds = [integer_seed(child(c["seed"], "environments", i))'
        ' for i in range(c["num_envs"])]\n',
        '        seeds = evaluation_seeds(c["seed"], 0, c["num_envs"])\n',
        OF_LOOP,
    ),
    Mutation(
        "critics: parts of the first layer as wide as layers of their own",
        NETWORKS,
        "weight = torch.empty(copies, inputs, outputs, device=device)",
        "weight, fan_in = torch.empty(copies, inputs, outputs, device=device), None",
        OF_BEGINNING,
    ),
    Mutation(
        "actor-critics: critics begin as the Langevin methods' do",
        "algorithms/actor_critic.py",
        "            uniform_(layer.weight, fan_in, generator)\n",
        "",
        OF_BEGINNING,
    ),
    Mutation(
        "PPO: the mean does not begin near zero",
        POLICIES,
        "self.mean = orthogonal_perceptron(sizes, 0.01, device, generator)",
        "self.mean = orthogonal_perceptron(sizes, 1.0, device, generator)",
        OF_BEGINNING,
    ),
    Mutation(
        "PPO: hidden layers of gain 1",
        POLICIES,
        "_orthogonal_(layers[-2], math.sqrt(2), generator)",
        "_orthogonal_(layers[-2], 1.0, generator)",
        OF_BEGINNING,
    ),
    Mutation(
        "PPO: rewards as they come",
        PPO,
        "return self.reward_scale.apply(reward, self.configuration.reward_limit)",
        "return reward",
        OF_NORMALISING,
    ),
    Mutation(
        "PPO: rewards without a limit",
        PPO,
        "return self.reward_scale.apply(reward, self.configuration.reward_limit)",
        "return self.reward_scale.apply(reward, float('inf'))",
        OF_NORMALISING,
    ),
    Mutation(
        "PPO: returns run through a time limit",
        PPO,
        "self.scaled_reward(rollout.reward, ended)",
        "self.scaled_reward(rollout.reward, rollout.terminated)",
        OF_NORMALISING,
    ),
    Mutation(
        "PPO: the value of a final observation as it comes",
        PPO,
        "self.network.value(self.standardise(rollout.next_observation)).squeeze(-1)",
        "self.network.value(rollout.next_observation).squeeze(-1)",
        OF_NORMALISING,
    ),
    Mutation(
        "Diffusion-QL: acts without Q",
        DIFFUSION_QL,
        "chosen = (value - (-uniform.log()).log()).argmax(1)",
        "chosen = (-(-uniform.log()).log()).argmax(1)",
        OF_ACTING,
    ),
    Mutation(
        "Diffusion-QL: acts by the greater of the twins",
        DIFFUSION_QL,
        "value = self.target_critics(repeated, action).amin(0).view(n, count)",
        "value = self.target_critics(repeated, action).amax(0).view(n, count)",
        OF_ACTING,
    ),
    Mutation(
        "Diffusion-QL: evaluated with as many candidates as it explores with",
        DIFFUSION_QL,
        "c.candidates if explore else c.evaluation_candidates or c.candidates",
        "c.candidates",
        OF_ACTING,
    ),
    Mutation(
        "Diffusion-QL: the average moves from the start",
        DIFFUSION_QL,
        "self.updates >= c.actor_average_after and ",
        "",
        "tests/test_diffusion_ql.py -k first_move",
    ),
    Mutation(
        "checkpoint: the replay is copied to be saved",
        "algorithms/checkpoint.py",
        "tensor.clone() if memory in self._memory else tensor",
        "tensor.clone()",
        "tests/test_checkpoint.py -k copied",
    ),
    Mutation(
        "LQL: an entropy bonus in the TD target",
        "algorithms/lql.py",
        "return self.configuration.reward_scale * batch.reward + future",
        "return self.configuration.reward_scale * batch.reward + future + 0.5",
        "tests/test_langevin.py -k soft_bellman",
    ),
]
