# docker build -t controlled-noise . && docker run --rm -v "$PWD:/data" -u "$(id -u):$(id -g)" controlled-noise build --config build.yaml --output out
# The pipeline with report and publication, in the locked versions, without compilers and without root.
FROM python:3.11-slim

WORKDIR /app
COPY setup.py pyproject.toml README.md LICENSE requirements.lock ./
COPY common common
COPY page page
COPY pipeline pipeline
COPY schemas schemas
COPY training training

# The lock has the packages of the tests, too: as constraints it gives versions without installing them.
RUN sed -n 's/^\([A-Za-z0-9_.-]*==[^\\]*\).*/\1/p' requirements.lock > constraints.txt \
    && pip install --no-cache-dir --constraint constraints.txt '.[report,publish]' \
    && useradd --create-home --uid 10001 noise

USER noise
WORKDIR /data
ENTRYPOINT ["noise-pipeline"]
CMD ["--help"]
