"""Build of the distribution `insightface-cakd`; recipes and patches travel inside the package."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (ROOT / "insightface_cakd/__init__.py").read_text())[1]

# What arcface_torch's own scripts import besides: `--host`, `cakd host run`.
HOST = ["pandas", "prettytable", "scikit-image", "scikit-learn", "scipy", "tabulate", "torchvision", "tqdm"]

# Where `cakd export-runtime` can write to besides ONNX.
RUNTIMES = {"ncnn": ["ncnn", "pnnx"], "openvino": ["openvino"]}

# What `cakd export --exporter dynamo` writes with.
DYNAMO = ["onnxscript"]

# What makes the site of the pages: `make docs`.
DOCS = ["mkdocs-material>=9.5"]

# With which the tests look at pages, in a Chromium that is installed already.
BROWSER = ["axe-playwright-python", "playwright"]

setup(
    name="insightface-cakd",
    version=VERSION,
    description="Knowledge distillation for InsightFace's arcface_torch: one flag, --distill RECIPE",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    license_files=["LICENSE"],
    project_urls={"Host": "https://github.com/deepinsight/insightface"},
    python_requires=">=3.10",
    packages=[*find_packages(include=["insightface_cakd*"]), "insightface_cakd.recipes", "insightface_cakd.patches"],
    package_dir={"insightface_cakd.recipes": "recipes", "insightface_cakd.patches": "patches"},
    package_data={
        "insightface_cakd": ["py.typed"],
        "insightface_cakd.report": ["templates/*"],
        "insightface_cakd.recipes": ["*.yaml", "*/*.yaml", "*.md"],
        "insightface_cakd.patches": ["*"],
    },
    install_requires=[
        "torch>=2.6",
        "timm>=1.0",
        "numpy>=1.26",
        "easydict",
        "onnx>=1.17",
        "onnxruntime>=1.20",
        "tensorboard",
        "insightface>=2.0",
        "opencv-python",  # insightface brings this one: the headless package beside it would overwrite its files.
        "jinja2>=3.1",
        "matplotlib",
        "pillow>=11.3",
        "pydantic>=2",
        "PyYAML",
        "rich",
        "safetensors",
        "scipy",
        "simplejpeg>=1.9",
        "typer>=0.12",
    ],
    extras_require={
        "host": HOST,
        **RUNTIMES,
        "dynamo": DYNAMO,
        "docs": DOCS,
        "test": [
            *HOST,
            *DOCS,
            *DYNAMO,
            *RUNTIMES["ncnn"],
            *RUNTIMES["openvino"],
            "build",
            *BROWSER,
            "hypothesis",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "mypy",
            "ruff",
            "setuptools>=77",
            "twine",
            "types-PyYAML",
        ],
    },
    # By the name of the distribution too: `pipx run insightface-cakd` looks for that one.
    entry_points={"console_scripts": [f"{name} = insightface_cakd.cli:main" for name in ("cakd", "insightface-cakd")]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
