"""Speed of Sinkhorn distances of a batch with one shared cost, and their precision.

At the end: the two stops beside each other, and the step of a student that learns by
them beside one that learns by soft targets.

Run: `python benchmarks/sinkhorn.py`, about 2 minutes on 2 cores. All numbers of one run
share one machine and load: trust the ratios. POT is no dependency; its line appears
where it is installed (`pip install pot`).
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from timing import best_time

from jtransfer import distillation, models, transfer
from jtransfer.sinkhorn import centred_cost, cost_matrix, sinkhorn_distances

EPSILON, THRESHOLD = 0.1, 1e-3


def main() -> None:
    """Prints one line a ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--num-classes", type=int, default=100)
    args = parser.parse_args()
    print(f"{args.n} problems of {args.num_classes} x {args.num_classes}, float32")

    arrays = problems(args.n, args.num_classes, largest_cost=2.0)
    ours = report("ours, cost 2", distances, arrays)
    compare_with_ott(ours, arrays, "cost 2")
    try:
        import ot  # noqa: F401
    except ImportError:
        print("POT's log-domain solver: not installed, left out")
    else:
        pot = report("loop over POT's log-domain solver, cost 2", pot_distances, arrays)
        print(f"  {pot / ours:.0f} times ours")

    for largest in (5.0, 10.0, 20.0):
        arrays = problems(args.n, args.num_classes, largest_cost=largest)
        time = report(f"ours, cost {largest:.0f}", distances, arrays)
        print(f"  {time / ours:.1f} times that at cost 2")
        print(f"  largest relative error, of 8: {relative_error(*arrays):.1e}")
    compare_with_ott(time, arrays, "cost 20")
    # Costs without the structure of distances ask most of the range of the dtype.
    arrays = problems(args.n, args.num_classes, largest_cost=20.0, distances=False)
    time = report("ours, cost 20, entries drawn one by one", distances, arrays)
    print(f"  {time / ours:.1f} times that at cost 2")
    print(f"  largest relative error, of 8: {relative_error(*arrays):.1e}")
    compare_stops(args.n, args.num_classes)
    compare_steps()


def compare_stops(n, num_classes):
    """Prints the iterations of the stops by the marginals and by the gradient."""
    arrays = problems(n, num_classes, largest_cost=2.0)
    for name, settings in (
        ("the marginals, 1e-3", {"threshold": THRESHOLD}),
        ("the gradient, 1e-3 epsilon", {"gradient_threshold": THRESHOLD * EPSILON}),
        ("the gradient, 1e-3", {"gradient_threshold": THRESHOLD}),
    ):
        result = sinkhorn_distances(*arrays, epsilon=EPSILON, **settings)
        steps = np.asarray(result.num_iterations)
        print(f"stop by {name}: {steps.mean():.1f} iterations, {steps.max()} at most")


def compare_steps():
    """Prints a student's step by three losses; the limit is 1.5 times soft targets."""
    rng = np.random.default_rng(0)
    num_classes, batch_size = 50, 64
    student = models.VGG(
        depth=4, num_classes=num_classes, base_width=16, rngs=nnx.Rngs(0)
    )
    centers = rng.standard_normal((num_classes, 64)).astype(np.float32)
    cost = centred_cost(centers, centers + 0.5 * rng.standard_normal(centers.shape))
    _, variables = models.functional(student)
    batch = {
        "images": jnp.asarray(rng.standard_normal((batch_size, 16, 16, 3), np.float32)),
        "labels": jnp.arange(batch_size) % num_classes,
        "teacher_logits": jnp.asarray(
            3 * rng.standard_normal((batch_size, num_classes), np.float32)
        ),
    }
    seconds = {}
    for name, method in (
        ("soft targets", None),
        ("Sinkhorn", transfer.sinkhorn_method([cost])),
        ("transported targets", transfer.transported_targets_method(cost)),
    ):
        loss = soft_target_loss if method is None else method.loss
        constants = {} if method is None else dict(method.constants)
        objective = transfer.student_objective(student, loss)
        step = jax.jit(jax.value_and_grad(objective, has_aux=True))
        seconds[name] = best_time(
            step, *variables, {**batch, **constants}, None, repeats=20
        ).cpu
    for name, time in seconds.items():
        ratio = time / seconds["soft targets"]
        print(f"step of a student, {name}: {1e3 * time:.1f} ms, {ratio:.2f} times KD's")


def soft_target_loss(student, batch):
    """Cross-entropy and soft targets of weight 10 at temperature 3."""
    value = distillation.cross_entropy(student.logits, batch["labels"])
    soft = distillation.soft_targets(
        batch["teacher_logits"], student.logits, temperature=3.0
    )
    return value + 10 * soft, {}


def compare_with_ott(ours, arrays, what):
    """Prints the times of ott-jax's two modes, in times ours, and their errors."""
    exact = np.asarray(distances(*arrays)[0])
    for mode, lse_mode in (("log-domain (default)", True), ("kernel", False)):
        peer = jax.jit(functools.partial(ott_distances, lse_mode=lse_mode))
        seconds = report(f"vmap of ott-jax, {mode} mode, {what}", peer, arrays)
        gap = np.abs(np.asarray(peer(*arrays)[0]) - exact).max()
        print(f"  {seconds / ours:.1f} times ours; values differ by {gap:.1e} at most")


def problems(n, num_classes, *, largest_cost, distances=True):
    """Returns probabilities of teacher and student `[n, C]` and a cost `[C, C]`."""
    rng = np.random.default_rng(0)
    teacher, student = (
        jax.nn.softmax(3 * rng.standard_normal((n, num_classes), np.float32))
        for _ in range(2)
    )
    if distances:
        cost = cost_matrix(
            *(rng.standard_normal((num_classes, 8), np.float32) for _ in range(2))
        )
    else:
        cost = jnp.asarray(rng.random((num_classes, num_classes), np.float32))
    return teacher, student, cost * (largest_cost / cost.max())


def report(name, function, arrays):
    """Prints and returns the processor time, and the iterations that it took."""
    seconds = best_time(function, *arrays, repeats=2).cpu
    values = function(*arrays)
    steps, converged = np.asarray(values[2]), bool(np.all(values[1]))
    print(
        f"{name}: {1e3 * seconds:.1f} ms, {steps.mean():.0f} iterations, "
        f"{steps.max()} at most, {'all' if converged else 'not all'} converged",
        flush=True,
    )
    return seconds


@jax.jit
def distances(teacher, student, cost):
    """Ours: distances, convergence and iterations."""
    result = sinkhorn_distances(
        teacher, student, cost, epsilon=EPSILON, threshold=THRESHOLD
    )
    return result.distance, result.converged, result.num_iterations


def ott_distances(teacher, student, cost, *, lse_mode):
    """The same numbers by ott-jax, one problem vectorised."""
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    def one(a, b):
        problem = LinearProblem(Geometry(cost_matrix=cost, epsilon=EPSILON), a, b)
        output = Sinkhorn(threshold=THRESHOLD, lse_mode=lse_mode)(problem)
        return output.ent_reg_cost - EPSILON, output.converged, output.n_iters

    return jax.vmap(one)(teacher, student)


def pot_distances(teacher, student, cost):
    """The same by POT, whose criterion is the looser Euclidean norm, in float32."""
    import ot

    teacher, student, cost = map(np.asarray, (teacher, student, cost))
    values, errors, steps = [], [], []
    for p, q in zip(teacher, student, strict=True):
        plan, log = ot.sinkhorn(
            p,
            q / q.sum() * p.sum(),
            cost,
            EPSILON,
            method="sinkhorn_log",
            stopThr=THRESHOLD,
            numItermax=2000,
            log=True,
        )
        positive = np.where(plan > 0, plan, 1)
        entropy = np.sum(plan) - np.sum(plan * np.log(positive))
        values.append(np.sum(plan * cost) - EPSILON * entropy)
        errors.append(log["err"][-1])
        steps.append(log["niter"])
    return np.array(values), np.array(errors) <= THRESHOLD, np.array(steps)


def relative_error(teacher, student, cost):
    """Compares eight distances with float64, in the log domain, after as many steps."""
    values, _, steps = distances(teacher, student, cost)
    errors = []
    for i in range(8):
        p, q, scores = (
            np.asarray(x, np.float64) for x in (teacher[i], student[i], cost / EPSILON)
        )
        v = np.zeros(len(q))
        for _ in range(int(steps[i])):
            u = np.log(p) - np.logaddexp.reduce(v[None] - scores, axis=1)
            v = np.log(q) - np.logaddexp.reduce(u[:, None] - scores, axis=0)
        u = np.log(p) - np.logaddexp.reduce(v[None] - scores, axis=1)
        errors.append(abs(float(values[i]) / (EPSILON * (p @ u + q @ v - 1)) - 1))
    return max(errors)


if __name__ == "__main__":
    main()
