"""Settings shared by all tests."""

import os
from pathlib import Path

import hypothesis
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiling takes longer than running here: optimise less, and by the older generator
# of fusions where there is one, in two thirds of the time (level 0 gave NaN where
# there is none). `make processors` has flags of its own, and compiles as users do.
OLDER = jax.version.__version_info__ < (0, 11)
FAST = ["--xla_backend_optimization_level=1"]
if OLDER:
    FAST += ["--xla_cpu_use_fusion_emitters=false"]
    FAST += ["--xla_llvm_disable_expensive_passes=true"]
os.environ.setdefault("XLA_FLAGS", " ".join(FAST))
# A second run finds compiled what the first has.
cache = Path(__file__).parents[1] / ".cache" / "jax"
jax.config.update("jax_compilation_cache_dir", str(cache))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
# The same for the commands that tests run. On some processors XLA logs lines about
# each program that it finds there.
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

hypothesis.settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=20, database=None
)
hypothesis.settings.load_profile("default")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled():
    """Compiled functions are memory maps, of which a process has some 65,000."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_text().count("\n") > 15_000:
        jax.clear_caches()
