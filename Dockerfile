# One image, roles by entrypoint.sh: migrate, web, worker, beat.

FROM python:3.13-slim-trixie AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential default-libmysqlclient-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements.txt .
# A package that requirements.txt does not pin, or a file whose hash it does not hold, fails the build.
RUN pip wheel --no-cache-dir --no-deps --require-hashes --wheel-dir wheels --requirement requirements.txt


FROM python:3.13-slim-trixie AS system
ENV PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libmariadb3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 app \
 && useradd --system --gid 10001 --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app \
 && install -d -o app -g app -m 700 /var/lib/library-desk /var/lib/library-desk-media
WORKDIR /app


FROM system AS static
RUN --mount=type=bind,from=build,source=/build,target=/build \
    pip install --no-cache-dir --no-index --no-deps --root-user-action ignore /build/wheels/*.whl
COPY . .
RUN SECRET_KEY=build DATA_DIR=/tmp python manage.py collectstatic --noinput --verbosity 0


FROM system
# The packages' own static files are served from the collected ones: here they would be ballast.
RUN --mount=type=bind,from=build,source=/build,target=/build \
    pip install --no-cache-dir --no-index --no-deps --root-user-action ignore /build/wheels/*.whl \
 && pip check \
 && find /usr/local/lib/python3.13/site-packages -type d -path '*/static' \
      ! -exec test -e '{}/__init__.py' ';' -prune -exec rm -r '{}' +
COPY . .
COPY --from=static /app/staticfiles staticfiles
RUN python -m compileall -q project library members
ARG VERSION=dev REVISION=unknown
LABEL org.opencontainers.image.title="Library desk" \
      org.opencontainers.image.description="Catalogue, member register and welcome e-mails" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
ENV DATA_DIR=/var/lib/library-desk BIND=0.0.0.0
USER app
EXPOSE 8000
# What "healthy" means depends on the role that was started; migrate has none, it ends.
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --start-interval=2s --retries=3 \
    CMD ["python", "project/healthcheck.py"]
ENTRYPOINT ["./entrypoint.sh"]
CMD ["web"]
