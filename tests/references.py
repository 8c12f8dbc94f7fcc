"""Plain float64 references from the definitions; run this file to check them."""

from functools import partial
from itertools import permutations

import numpy as np
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, rel_entr

EPS = np.finfo(np.float64).eps
_array = partial(np.asarray, dtype=np.float64)


def one_hot(labels, num_classes):
    """Indicator matrix [n, num_classes]."""
    return _array([np.arange(num_classes) == label for label in np.asarray(labels)])


def covariance(features, labels=None):
    """Population covariance (1/n) of E[f|Y], or of f itself without labels."""
    features = _array(features)
    labels = np.arange(len(features)) if labels is None else np.asarray(labels)
    mean, total = features.mean(axis=0), np.zeros((features.shape[1],) * 2)
    for c in np.unique(labels):
        gap = features[labels == c].mean(axis=0) - mean
        total += np.mean(labels == c) * np.outer(gap, gap)
    return total


def h_score(features, labels):
    """H-score tr(cov(f)^+ cov(E[f|Y])) (Bao et al. 2019)."""
    features = _array(features)
    features = features[:, np.ptp(features, axis=0) > 0]  # Drop constant columns.
    if features.shape[1] == 0:
        return 0.0
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    between = covariance(features, labels)
    values, vectors = np.linalg.eigh(covariance(features))
    kept = values > max(features.shape) * EPS * values.max()
    pairs = zip(values[kept], vectors.T[kept], strict=True)
    return float(sum(v @ between @ v / value for value, v in pairs))


def ledoit_wolf_shrinkage(features):
    """Shrinkage min(b^2, d^2) / d^2 towards mu I (Ledoit and Wolf 2004, section 3)."""
    features, cov = _array(features), covariance(features)
    (n, d), centred = features.shape, features - features.mean(axis=0)
    delta = np.sum((cov - np.trace(cov) / d * np.eye(d)) ** 2)
    spread = sum(np.sum((np.outer(x, x) - cov) ** 2) for x in centred) / n**2
    return float(min(spread, delta) / delta) if min(spread, delta) > 0 else 0.0


def regularized_h_score(features, labels):
    """(1 - a) tr(((1-a) S + a mu I)^-1 S_between) (Ibrahim et al. 2021, H_alpha)."""
    features = _array(features)
    a, cov, d = ledoit_wolf_shrinkage(features), covariance(features), features.shape[1]
    shrunk = (1 - a) * cov + a * np.trace(cov) / d * np.eye(d)
    # A pseudo-inverse only for a = 0 with a singular S, for example two examples.
    inverse = np.linalg.pinv(shrunk, rcond=max(features.shape) * EPS, hermitian=True)
    return float((1 - a) * np.trace(inverse @ covariance(features, labels)))


def log_evidence(features, y, alpha, beta):
    """Log density of y under N(0, I/beta + F F^T/alpha) (You et al. 2021, LogME)."""
    features, y = _array(features), _array(y)
    cov = np.eye(len(y)) / beta + features @ features.T / alpha
    log_det = np.linalg.slogdet(2 * np.pi * cov)[1]
    return float(-0.5 * (log_det + y @ np.linalg.solve(cov, y)))


def max_log_evidence(features, y):
    """(Maximum, alpha, beta) of log_evidence over both precisions (MacKay 1992)."""
    # With F F^T = U diag(s) U^T, z = U^T y and r = beta/alpha the covariance has the
    # eigenvalues (1 + r s)/beta, so that the best 1/beta is mean(z^2 / (1 + r s)).
    # The limits r = 0 and r = inf are finite (the ends of the grid equal them), unless
    # y is 0 or lies in the span of F with rank < n: the evidence is then unbounded.
    features, y = _array(features), _array(y)
    n = len(y)
    u, singular, _ = np.linalg.svd(features, full_matrices=True)
    s, z = np.zeros(n), u.T @ y
    singular[singular <= max(features.shape) * EPS * singular[0]] = 0
    s[: len(singular)] = singular**2
    outside, small = np.linalg.norm(z[s == 0]), 100 * n * EPS * np.linalg.norm(y)
    if not y.any() or (not s.all() and outside <= small):
        return np.inf, np.nan, np.inf

    def best(log_r):
        spectrum = 1 + np.exp(log_r) * s
        v = np.mean(z**2 / spectrum)
        top = -0.5 * (n * (np.log(2 * np.pi * v) + 1) + np.sum(np.log(spectrum)))
        return top, np.exp(-log_r) / v, 1 / v

    scales = s[s > 0] if s.any() else np.ones(1)
    grid = np.linspace(np.log(1e-15 / scales.max()), np.log(1e15 / scales.min()), 801)
    optima = [best(log_r) for log_r in grid]
    for i in range(1, len(grid) - 1):  # Refine every local maximum: there may be two.
        if optima[i - 1][0] < optima[i][0] >= optima[i + 1][0]:
            around, options = (grid[i - 1], grid[i + 1]), {"xatol": 1e-10}
            fit = minimize_scalar(lambda t: -best(t)[0], bounds=around, options=options)
            optima.append(best(fit.x))
    return max(optima)


def logme(features, labels, num_classes):
    """Mean maximum log evidence per example of one-hot columns (You et al. 2021)."""
    columns = one_hot(labels, num_classes).T
    return logme_regression(features, _array([c for c in columns if c.any()]).T)


def logme_regression(features, targets):
    """Mean over target columns of the maximum log evidence / n (You et al. 2021)."""
    values = [max_log_evidence(features, y)[0] / len(y) for y in _array(targets).T]
    return float(np.mean(values))


def logme_of_graded_features(features, labels, num_classes):
    """The same for n > d, by Gram and Schmidt: right to rounding of each feature.

    Columns of [F; sqrt(r) I] and [y; 0] are made orthogonal one after the other, so
    that a wide one is out of the way when those after it are measured.
    """
    n, d = np.shape(features)
    values = []

    def best(log_r, y):
        columns = np.vstack([_array(features), np.exp(log_r / 2) * np.eye(d)])
        columns = np.c_[columns, np.r_[y, np.zeros(d)]]
        log_det = -d * log_r
        for j in range(d):
            norm = np.linalg.norm(columns[:, j])
            unit, log_det = columns[:, j] / norm, log_det + 2 * np.log(norm)
            for _ in range(2):
                columns[:, j + 1 :] -= np.outer(unit, unit @ columns[:, j + 1 :])
        v = np.sum(columns[:, d] ** 2) / n
        return -(np.log(2 * np.pi * v) + 1 + log_det / n) / 2

    for y in one_hot(labels, num_classes).T:
        grid = np.arange(-50, 75, 0.5)
        optima = [best(log_r, y) for log_r in grid]
        around = grid[np.argmax(optima)] + np.array([-0.5, 0.5])
        fit = minimize_scalar(
            lambda r, y=y: -best(r, y), bounds=around, options={"xatol": 1e-8}
        )
        values.append(max(-fit.fun, *optima))
    return float(np.mean(values))


def leep_table(probs, labels, num_classes):
    """Empirical joint P(y, z) [C, Z] from source probabilities (Nguyen et al. 2020)."""
    joint = np.zeros((num_classes, np.shape(probs)[1]))
    for row, label in zip(_array(probs), np.asarray(labels), strict=True):
        joint[label] += row / len(probs)
    return joint


def leep(probs, labels):
    """Mean log sum_z P(y|z) theta_z over z with P(z) > 0 (Nguyen et al. 2020)."""
    joint, total = leep_table(probs, labels, int(max(labels)) + 1), 0.0
    for row, label in zip(_array(probs), np.asarray(labels), strict=True):
        mass = enumerate(joint.sum(axis=0))
        total += np.log(sum(joint[label, z] / m * row[z] for z, m in mass if m > 0))
    return float(total / len(probs))


def knn_probe_accuracy(features, labels, num_neighbors=5, groups=None):
    """Share of examples that the nearest others vote for, one after another."""
    features, labels = _array(features), np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else groups
    hits = []
    for i in range(len(labels)):
        gaps = [
            (np.sum((features[i] - features[j]) ** 2), j)
            for j in range(len(labels))
            if groups[j] != groups[i]
        ]
        votes = [labels[j] for _, j in sorted(gaps)[:num_neighbors]]
        most = max((votes.count(c) for c in votes), default=0)
        # Of the classes with most votes that of the nearest neighbour.
        winner = next((c for c in votes if votes.count(c) == most), None)
        hits.append(winner == labels[i])
    return float(np.mean(hits))


def leave_one_out_leep(probs, labels, concentration=1.0):
    """Mean log probability of each label by the table of all other examples."""
    probs, labels, terms = _array(probs), np.asarray(labels), []
    for i, (row, label) in enumerate(zip(probs, labels, strict=True)):
        prior, expected = concentration * np.mean(labels == label), 0.0
        for z, theta in enumerate(row):
            others = np.delete(probs[:, z], i)
            own = others[np.delete(labels, i) == label].sum()
            expected += theta * (own + prior) / (others.sum() + concentration)
        terms.append(np.log(expected))
    return float(np.mean(terms))


def nce_from_table(table):
    """Sum of P(y, z) log P(y|z), of probabilities or counts [C, Z] (Tran 2019)."""
    joint = _array(table) / _array(table).sum()
    return float(rel_entr(joint, joint.sum(axis=0)).sum())


def nce(source_labels, labels):
    """Negative conditional entropy -H(Y|Z) in nats (Tran et al. 2019)."""
    counts = np.zeros((int(max(labels)) + 1, int(max(source_labels)) + 1))
    for z, y in zip(source_labels, labels, strict=True):
        counts[y, z] += 1
    return nce_from_table(counts)


def bhattacharyya(features, labels):
    """-log sum_{i != j} exp(-D_B) over ordered class pairs (Pandy et al. 2022)."""
    # Diagonal population variances, floored; one class alone gives an empty sum: inf.
    features, labels = _array(features), np.asarray(labels)
    features = features[:, np.ptp(features, axis=0) > 0]
    floor, distances = 1e-6 * features.var(axis=0), []
    for i, j in permutations(np.unique(labels), 2):
        a, b = features[labels == i], features[labels == j]
        va, vb = np.maximum(a.var(axis=0), floor), np.maximum(b.var(axis=0), floor)
        middle, gap = (va + vb) / 2, a.mean(axis=0) - b.mean(axis=0)
        logs = np.log(middle) - (np.log(va) + np.log(vb)) / 2
        distances.append(np.sum(gap**2 / middle) / 8 + np.sum(logs) / 2)
    return float(-logsumexp(-_array(distances))) if distances else np.inf


def ridge_weights(train, onehot, lam, scale=None):
    """(W, mean, scale, intercept), (X^T X + lam I) W = X^T Y (Hoerl, Kennard 1970)."""
    # X: centred and divided by the population deviation (1 where that is 0), sums over
    # examples, not means; the intercept is not penalised. Predictions: ridge_predict.
    train, onehot = _array(train), _array(onehot)
    mean, intercept = train.mean(axis=0), onehot.mean(axis=0)
    if scale is None:
        scale = np.where(np.ptp(train, axis=0) > 0, train.std(axis=0), 1.0)
    x = (train - mean) / scale
    normal = x.T @ x + lam * np.eye(x.shape[1])
    return np.linalg.solve(normal, x.T @ (onehot - intercept)), mean, scale, intercept


def ridge_predict(fitted, features):
    """Outputs [n, C] of ridge_weights; the class is their argmax."""
    weights, mean, scale, intercept = fitted
    return (_array(features) - mean) / scale @ weights + intercept


def leave_one_out_error(train, onehot, lam, restandardise=False):
    """Mean squared entry of the n held-out residuals, by n refits (Stone 1974)."""
    # Refits have their own mean and intercept, but the scale of the full set (unless
    # restandardise), which is what makes this equal the closed form r_i / (1 - h_ii).
    scale, errors = None if restandardise else ridge_weights(train, onehot, lam)[2], []
    for i in range(len(train)):
        held_in = np.delete(train, i, axis=0), np.delete(onehot, i, axis=0)
        fitted = ridge_weights(*held_in, lam, scale)
        errors.append((ridge_predict(fitted, train[i]) - onehot[i]) ** 2)
    return float(np.mean(errors))


def pearson(a, b):
    """Correlation (scipy.stats.pearsonr)."""
    return float(stats.pearsonr(_array(a), _array(b)).statistic)


def spearman(a, b):
    """Rank correlation, ties at mean ranks (scipy.stats.spearmanr)."""
    return float(stats.spearmanr(a, b).statistic)


def weighted_kendall(a, b):
    """Hyperbolic weighted tau, both rankings averaged (Vigna 2015; scipy.stats)."""
    return float(stats.weightedtau(a, b).statistic)


def dcg(scores, relevance):
    """Sum of relevance / log2(position + 1), best first (Jarvelin 2002)."""
    order = np.argsort(-_array(scores), kind="stable")
    return float(sum(relevance[i] / np.log2(p + 1) for p, i in enumerate(order, 1)))


def top_k_regret(scores, accuracies, k):
    """Best accuracy minus the best among the k highest scores (Renggli et al. 2022)."""
    order = np.argsort(-_array(scores), kind="stable")
    return float(_array(accuracies).max() - _array(accuracies)[order[:k]].max())


def jackknife(statistic, features, labels, blocks):
    """sqrt((g-1)/g sum (t_b - mean t)^2), blocks: ids [n] (Efron, Tibshirani 1993)."""
    features, labels, values = np.asarray(features), np.asarray(labels), []
    for name in np.unique(blocks):
        rest = np.asarray(blocks) != name
        values.append(float(statistic(features[rest], labels[rest])))
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def divergence_transition_matrix(joint):
    """(P(y,x) - P(y)P(x)) / sqrt(P(y)P(x)), 0 where P(y)P(x) = 0 (Huang 2017)."""
    joint = _array(joint)
    product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return (joint - product) / np.sqrt(np.where(product > 0, product, 1.0))


def mutual_information(joint):
    """Divergence of P(y, x) from P(y) P(x) in nats (Shannon 1948)."""
    joint = _array(joint)
    return float(rel_entr(joint, np.outer(joint.sum(axis=1), joint.sum(axis=0))).sum())


def soft_hgr(f, g):
    """E[f^T g] - tr(cov(f) cov(g)) / 2, centred, 1/n throughout (Wang et al. 2019)."""
    f, g = (_array(h) - _array(h).mean(axis=0) for h in (f, g))
    inner = sum(a @ b for a, b in zip(f, g, strict=True)) / len(f)
    return float(inner - 0.5 * np.trace(covariance(f) @ covariance(g)))


def _checks():
    """Yield (name, value, expected) against scikit-learn, SciPy and closed forms."""
    from sklearn.covariance import LedoitWolf
    from sklearn.linear_model import BayesianRidge, RidgeCV
    from sklearn.metrics import dcg_score, mutual_info_score

    rng = np.random.default_rng(0)
    y = np.append(rng.choice([0, 1, 3], 58), [4, 2])  # 5 is absent, 2 and 4 single.
    f = rng.normal(size=(60, 7)) @ rng.normal(size=(7, 7)) + 9 + y[:, None] % 3
    hot, wide, u = one_hot(y, 6), rng.normal(size=(20, 50)), rng.normal(size=60)
    qf, qy = (np.linalg.svd(a - a.mean(axis=0), False)[0] for a in (f, hot))
    yield "H, canonical correlations", h_score(f, y), np.sum((qf.T @ qy[:, :4]) ** 2)
    options = dict.fromkeys(["alpha_1", "alpha_2", "lambda_1", "lambda_2"], 0)
    options |= {"fit_intercept": False, "compute_score": True, "tol": 1e-13}
    for a, b, t in ((f, u + f[:, 0], y), (wide, wide[:, 0] ** 2, np.arange(20) % 3)):
        fit = LedoitWolf().fit(a)
        yield "Ledoit-Wolf", ledoit_wolf_shrinkage(a), fit.shrinkage_
        trace = np.trace(fit.precision_ @ covariance(a, t))
        yield "regularized H", regularized_h_score(a, t), (1 - fit.shrinkage_) * trace
        top, alpha, beta = max_log_evidence(a, b)
        yield "evidence at its maximum", log_evidence(a, b, alpha, beta), top
        bayes = BayesianRidge(max_iter=9999, **options).fit(a, b)
        value = logme_regression(a, np.c_[b, -b])
        yield "LogME, BayesianRidge", value, bayes.scores_[-1] / len(b)
    z, joint = rng.integers(0, 4, 60) * 2, np.zeros((6, 8))
    np.add.at(joint, (y, z), 1 / 60)
    info, entropy = (mutual_info_score(y, a) for a in (z, y))
    yield "I; NCE", [mutual_information(joint), nce(z, y)], [info, info - entropy]
    yield "LEEP of one-hot = NCE", leep(one_hot(z, 8), y), nce_from_table(joint)
    left, sigma, right = np.linalg.svd(divergence_transition_matrix(joint))
    yield "H of one-hot = ||B||^2", h_score(one_hot(z, 8), y), np.sum(sigma**2)
    best_x = (right / np.sqrt(np.maximum(joint.sum(axis=0), EPS))).T[z, :4]
    best_y = (left.T / np.sqrt(np.maximum(joint.sum(axis=1), EPS))).T[y, :4]
    yield "soft-HGR", soft_hgr(best_x, best_y * sigma[:4]), np.sum(sigma**2) / 2
    p, q = (stats.norm(a.mean(), a.std()).pdf(np.arange(-99, 99, 1e-3)) for a in (u, b))
    groups = np.r_[u, b][:, None], np.repeat([0, 1], [60, 20])
    yield "GBC", bhattacharyya(*groups), -np.log(2e-3 * np.sqrt(p * q).sum())
    x, fitted = (f - f.mean(axis=0)) / f.std(axis=0), ridge_weights(f, hot, 2)
    ridge = RidgeCV([2], store_cv_results=True).fit(x, hot)
    yield "ridge", ridge_predict(fitted, f), ridge.predict(x)
    yield "leave one out", leave_one_out_error(f, hot, 2), ridge.cv_results_.mean()
    yield "jackknife", jackknife(lambda a, _: a.mean(), u, u, range(60)), stats.sem(u)
    yield "DCG", dcg(u, y), dcg_score([y], [u])


if __name__ == "__main__":
    for name, value, expected in _checks():
        error = np.max(np.abs(np.subtract(value, expected)))
        print(f"{name:32s} {np.ravel(value)[0]: .10f}  error {error:.0e}")
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
