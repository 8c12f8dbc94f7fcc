"""Settings shared by all tests."""

import os
from pathlib import Path

import hypothesis
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiling takes longer than running here: optimise less, for a sixth of the time
# (level 0 gave NaN where there is none), and let a second run find it done.
os.environ["XLA_FLAGS"] = (
    f"--xla_backend_optimization_level=1 {os.environ.get('XLA_FLAGS', '')}".strip()
)
cache = Path(__file__).parents[1] / ".cache" / "jax"
jax.config.update("jax_compilation_cache_dir", str(cache))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

hypothesis.settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=20, database=None
)
hypothesis.settings.load_profile("default")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled():
    """Compiled functions are memory maps, of which a process has only so many."""
    yield
    jax.clear_caches()
