"""The packages that arcface_torch's scripts import, and how to install them."""

import importlib.util
import re

EXTRA = 'pip install "insightface-cakd[host]"'

# Module -> distribution: the packages of the extra `host` in setup.py.
HOST_PACKAGES = {
    "pandas": "pandas",
    "prettytable": "prettytable",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tabulate": "tabulate",
    "torchvision": "torchvision",
    "tqdm": "tqdm",
}
# Needed by one option or one script only.
OTHER_PACKAGES = {
    "cupy": "cupy",
    "cv2": "opencv-python",
    "glob2": "glob2",
    "nvidia": "nvidia-dali-cuda120",
    "onnxsim": "onnxsim",
    "tensorflow": "tensorflow",
    "tensorflow_addons": "tensorflow-addons",
    "wandb": "wandb",
}
NOT_PACKAGES = {
    "embedding": "the file is not in insightface's repository; use _evaluation_/ijb/ijb_evals.py instead",
    "mxnet": "the stand-in has no such part, and the last mxnet (1.9.1) wants numpy < 1.24",
}


def missing_host_packages() -> list[str]:
    """Return the distributions of the extra `host` that are not installed."""
    return [name for module, name in HOST_PACKAGES.items() if importlib.util.find_spec(module) is None]


def how_to_install(error: ImportError) -> str:
    """Return what to do; pandas names the module in its message only."""
    words = re.findall(r"\w+", str(error))
    module = (error.name or next((word for word in words if word in HOST_PACKAGES), "")).split(".")[0]
    if module in HOST_PACKAGES:
        return f"Install {HOST_PACKAGES[module]}: {EXTRA}"
    if module in NOT_PACKAGES:
        return f"There is nothing to install: {NOT_PACKAGES[module]}."
    if not isinstance(error, ModuleNotFoundError):
        return "The installed version does not have it."
    return f"Install it: pip install {OTHER_PACKAGES.get(module, module)}"
