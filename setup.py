"""Packaging: `pip install .` gives the pipeline, extras add the rest (see README.md)."""

from pathlib import Path

from setuptools import find_packages, setup

# Lower bounds matter: without one, resolvers walk Beam back to releases of years ago.
# Upper bounds are Beam's own (pyarrow, pillow, protobuf follow from it).
# fsspec, gcsfs and s3fs are released together; these are the oldest that tests/engines/test_buckets.py passes with.
PIPELINE = [
    "aiohappyeyeballs>=2.5",
    "aiohttp>=3.14,<4",
    "apache-beam>=2.77,<3",
    "fsspec>=2026.4",
    "imagehash>=4.3.2,<5",
    "numpy>=2.2",
    "pandas>=3.0,<4",
    "pillow>=12,<13",
    "protego>=0.6",
    "pyarrow>=22,<26",
    "pyyaml>=6",
    "scipy>=1.14",
    "simplejpeg>=1.9",
    "tqdm>=4.66",
    "yarl>=1.17",
]
TRAINING = [
    "safetensors>=0.5",
    "scipy>=1.14",
    "simplejpeg>=1.9",
    "torch>=2.14",
    "torchvision>=0.29.1",
]
EMBED = ["safetensors>=0.5", "timm>=1.0.12", "torch>=2.14", "torchvision>=0.29.1"]
REPORT = ["duckdb>=1.3", "jinja2>=3.1", "matplotlib>=3.10"]
PUBLISH = ["huggingface-hub>=1"]
ONNX = ["onnx>=1.23", "onnxscript>=0.7"]
AWS = ["s3fs>=2026.4"]
# Submitting a job makes a package of this project for the workers, which needs setuptools.
GCP = ["apache-beam[gcp]>=2.77,<3", "gcsfs>=2026.4", "setuptools>=77"]
ENGINES = [*GCP, *AWS, "cryptography", "gcp-storage-emulator>=2024.8", "moto[server]>=5.1", "pytest>=8.3"]
DEV = [
    "axe-playwright-python>=0.1.4",
    "crowd-kit>=1.4.2,<2",
    "codespell>=2.4",
    "datasets>=4",
    "furo>=2025.7",
    "httpx>=0.28,<1",
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "jsonschema>=4.20",
    "markdown-it-py>=3",
    "mlcroissant>=1.1",
    "mypy>=1.15",
    "myst-parser>=4",
    "onnxruntime>=1.32",
    "playwright>=1.50",
    "pytest>=8.3",
    "pytest-cov>=6",
    "pytest-xdist>=3.6",
    "ruff>=0.9",
    "sphinx>=8",
    "tensorboard>=2.18",
    "types-pyyaml",
    "types-tqdm",
    "webdataset>=1.0.2,<2",
]

setup(
    name="controlled-noise",
    version="0.2.0",
    description="Controlled real-world label noise: from web images and worker votes to Parquet training sets "
    "at exact noise levels, and the robust training that they are for.",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords="label noise, noisy labels, controlled noise, MentorMix, MentorNet, crowdsourcing, Apache Beam, PyTorch",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["common*", "page*", "pipeline*", "training*", "schemas*"]),
    package_data={
        "page": ["py.typed", "page.css", "page.js", "templates/*.html"],
        "common": ["py.typed"],
        "schemas": ["py.typed"],
        "pipeline": [
            "py.typed",
            "*/templates/*.html",
            "vote/templates/*.css",
            "vote/templates/*.js",
            "flex_template/Dockerfile",
            "flex_template/metadata.json",
        ],
        "training": ["py.typed", "*/templates/*.html"],
    },
    install_requires=PIPELINE,
    extras_require={
        "training": TRAINING,
        "embed": EMBED,
        "report": REPORT,
        "publish": PUBLISH,
        "aws": AWS,
        "gcp": GCP,
        "engines": ENGINES,
        "timm": ["timm>=1.0.12"],
        "onnx": ONNX,
        "tensorboard": ["tensorboard>=2.18"],
        "dev": TRAINING + EMBED + REPORT + PUBLISH + ONNX + DEV,
    },
    entry_points={
        "console_scripts": [
            "noise-pipeline = pipeline.__main__:main",
            "noise-training = training.__main__:main",
        ]
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
