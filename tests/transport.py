"""Problems of transport and their solutions in float64, which the tests share."""

import numpy as np
import scipy.optimize
import scipy.special
from tasks import NUM_CLASSES

NUM, SHAPE = 8, (4, 6)
"""Examples, and classes of teacher and student, in most tests: jit compiles once."""


def problem(seed, n=NUM, shape=SHAPE, scale=1.0, sharpness=1.5, dtype=np.float32):
    """Probabilities of n examples, and a cost with the largest entry `scale`."""
    rng = np.random.default_rng(seed)
    teacher, student = (
        scipy.special.softmax(sharpness * rng.normal(size=(n, size)), axis=1)
        for size in shape
    )
    cost = rng.uniform(size=shape)
    cost *= scale / cost.max()
    return teacher.astype(dtype), student.astype(dtype), cost.astype(dtype)


def log_sum_exp(terms, axis):
    """That of SciPy is right as well, but slow in a loop."""
    top = terms.max(axis=axis)
    return top + np.log(np.exp(terms - np.expand_dims(top, axis)).sum(axis=axis))


def reference(teacher, student, cost, epsilon=0.1, num_iterations=4000):
    """Eq. (5) of one pair in float64, by Algorithm 3 in the log domain.

    Returns the distance from the plan, the plan and the student's potentials.
    """
    teacher, student, cost = (
        np.asarray(x, np.float64) for x in (teacher, student, cost)
    )
    with np.errstate(divide="ignore"):
        log_teacher, log_student = np.log(teacher), np.log(student)
    log_v = np.zeros(len(student))
    for _ in range(num_iterations):
        log_u = log_teacher - log_sum_exp(log_v[None] - cost / epsilon, axis=1)
        previous = log_v
        log_v = log_student - log_sum_exp(log_u[:, None] - cost / epsilon, axis=0)
        if np.abs(log_v - previous).max() < 1e-12:
            break
    plan = np.exp(log_u[:, None] + log_v[None] - cost / epsilon)
    entropy = np.sum(scipy.special.entr(plan)) + plan.sum()
    return np.sum(plan * cost) - epsilon * entropy, plan, epsilon * log_v


def references(teacher, student, cost, **settings):
    """Distances, plans and potentials of all pairs."""
    pairs = zip(teacher, student, strict=True)
    results = [reference(p, q, cost, **settings) for p, q in pairs]
    return tuple(map(np.stack, zip(*results, strict=True)))


def minimiser(features, labels, decay):
    """Logits of the minimiser by SciPy, in coordinates of covariance one."""
    n = len(labels)
    features = features.astype(np.float64)
    scale = max(np.sqrt(np.mean((features - features.mean(axis=0)) ** 2)), 1e-30)
    x = (features - features.mean(axis=0)) / scale
    decay = decay / scale**2
    onehot = np.eye(NUM_CLASSES)[labels]
    absent = onehot.sum(axis=0) == 0

    def loss(flat):
        head = flat.reshape(-1, NUM_CLASSES)
        logits = x @ head[:-1] + head[-1] - 1e9 * absent
        log_probs = scipy.special.log_softmax(logits, axis=1)
        errors = (np.exp(log_probs) - onehot) / n
        gradient = np.concatenate(
            [x.T @ errors + decay * head[:-1], errors.sum(axis=0)[None]]
        )
        value = -np.sum(onehot * log_probs) / n + decay / 2 * np.sum(head[:-1] ** 2)
        return value, gradient.ravel()

    start = np.zeros((x.shape[1] + 1) * NUM_CLASSES)
    fit = scipy.optimize.minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 50_000, "ftol": 0, "gtol": 1e-9},
    )
    head = fit.x.reshape(-1, NUM_CLASSES)
    return x @ head[:-1] + head[-1]
