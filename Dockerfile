# A server that learns from its users: docs/deploy.md says how to run it.
FROM python:3.12-slim

RUN useradd --create-home --uid 10001 rft && mkdir /data && chown rft:rft /data
WORKDIR /app
COPY setup.py README.md LICENSE ./
COPY rft_jax rft_jax
# What JAX is installed for: nothing for a CPU, gpu or tpu.
ARG EXTRA=
RUN pip install --no-cache-dir ".${EXTRA:+[$EXTRA]}"
COPY configs configs

USER rft
ENV JAX_COMPILATION_CACHE_DIR=/data/compiled
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "rft_jax.main", "--workdir=/data/run"]
CMD ["--config=configs/feedback_online.py", "--config.serve.host=0.0.0.0"]
