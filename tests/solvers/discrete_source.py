"""A small Markov source of tokens whose every probability is known by enumeration."""

import itertools

import jax.numpy as jnp
import numpy as np

from diffax.categorical import Categorical

SIZE, LENGTH = 3, 4
RNG = np.random.default_rng(7)
FIRST = RNG.dirichlet(np.ones(SIZE))
NEXT = RNG.dirichlet(np.ones(SIZE), size=SIZE)

TEXTS = np.array(list(itertools.product(range(SIZE), repeat=LENGTH)), np.int32)  # [K, L]
PROBS = FIRST[TEXTS[:, 0]] * np.prod(NEXT[TEXTS[:, :-1], TEXTS[:, 1:]], axis=1)
ENTROPY = -float(np.sum(PROBS * np.log(PROBS)))  # nats a text


def likelihood(process, x, point):
    """q(x_t | x_0) of every text `[B, K]`, from the definition of the process."""
    x = x[:, None, :]
    alpha, sigma = (jnp.reshape(f, (-1, 1, 1)) for f in (point.alpha, point.sigma))
    same = jnp.asarray(TEXTS)[None] == x
    noise = (x == SIZE) * 1.0 if process.states > SIZE else jnp.full(x.shape, 1 / SIZE)
    return jnp.prod(alpha * same + sigma * noise, axis=-1)


class Exact:
    """The denoiser that knows the source: p(x_0 | x_t) token by token, by Bayes' rule."""

    def __init__(self, process, probs=PROBS):
        self.process, self.probs = process, jnp.asarray(probs)

    def __call__(self, x, point):
        if jnp.ndim(point.alpha) or len(x) <= len(states(self.process)):
            return Categorical(self._log_probs(x, point), self.process)
        # Of one time and many texts: every state once.
        table = self._log_probs(jnp.asarray(states(self.process)), point)
        place = x @ jnp.asarray(self.process.states ** np.arange(LENGTH)[::-1])
        return Categorical(table[place], self.process)

    def _log_probs(self, x, point):
        joint = self.probs[None] * likelihood(self.process, x, point)
        joint = joint / jnp.maximum(joint.sum(axis=1, keepdims=True), 1e-30)
        hot = jnp.asarray(np.eye(SIZE)[TEXTS])  # [K, L, V]
        marginals = jnp.einsum("bk,klv->blv", joint, hot)
        return jnp.log(jnp.maximum(marginals, 1e-30))


def states(process):
    """Every state of a text, `[S, L]`."""
    return np.array(list(itertools.product(range(process.states), repeat=LENGTH)), np.int32)
