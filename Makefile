# make run    the whole tool on this machine, until Ctrl-C
# make test   the suite that needs no server
# make coverage   the suite, and which lines and branches nothing runs; on MySQL it has a floor
# make mutants OF=library/isbn.py   which changes of the code no test notices
# make chaos  every fault against real processes, on the MySQL and Redis of DATABASE_URL and REDIS_URL
# make messages  collects the strings for translation and compiles them
# make schema    writes the API's description anew (project/api/openapi.yaml)
# make lock   compiles requirements.in into requirements.txt
# make check  lint, imports, types, translations, security, migrations, schema, deployment
# make audit  asks which packages have known vulnerabilities
# make backup / make restore FILE=…  the compose stack's database

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PORT DATA_DIR

.PHONY: run test coverage mutants schema lock check audit chaos messages backup restore
.DEFAULT_GOAL := run

run: staticfiles/staticfiles.json
	@exec $(BIN)/python manage.py run

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto $(PYTEST)

coverage: PYTEST ?= -n auto
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(if $(DATABASE_URL),,--fail-under=0)

# Files or folders of OF (pyproject.toml lists what is mutated). Each survivor is shown: a test is
# missing, or the change changes nothing.
mutants: $(VENV)/.dev
	@test -n "$(OF)" || { echo "Of which files? make mutants OF=library/isbn.py"; exit 1; }
	@rm -rf mutants && mkdir mutants
	$(BIN)/mutmut run $(foreach path,$(OF),'$(subst /,.,$(path:.py=)).*') >mutants/log || { tail -n 60 mutants/log; exit 1; }
	@$(BIN)/mutmut results --all true | grep -v 'not checked' >mutants/results
	@for name in $$(awk -F': ' '$$2 == "survived" || $$2 == "no tests" {print $$1}' mutants/results); do $(BIN)/mutmut show $$name; done
	@awk -F': ' '{n++; s[$$2]++} END {for (k in s) printf "%s: %d, ", k, s[k]; printf "%d %% of %d killed\n", 100 * (s["killed"] + s["timeout"]) / n, n}' mutants/results

# They hold nothing of value: Redis is flushed. CHAOS_MYSQL and CHAOS_REDIS name their containers.
chaos: $(VENV)/.dev
	$(BIN)/python -m chaos

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy .
	$(BIN)/python -m pytest --quiet project/tests/test_translations.py
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive project library members
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null
	HTTPS=1 $(BIN)/python manage.py check --deploy --fail-level WARNING

# Needs the network; a package that cannot be looked up fails it.
audit: $(VENV)/.dev
	$(BIN)/pip-audit --strict --disable-pip --requirement requirements.txt

# Pins and hashes of all that requirements.in needs, for every platform. What is pinned stays:
# make lock LOCK=--upgrade, or LOCK='--upgrade-package kombu', takes the newest.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet $(LOCK) -o requirements.txt requirements.in

# Committed, so that a review sees what changes for integrators.
schema: $(VENV)/.dev
	$(BIN)/python manage.py spectacular --file project/api/openapi.yaml

# Collects the strings (needs gettext), then compiles what locale/ holds; both are committed.
messages: $(VENV)/.dev
	@for app in project library members; do \
		(cd $$app && ../$(BIN)/django-admin makemessages --locale ru --no-location --no-obsolete --no-wrap && \
		../$(BIN)/django-admin compilemessages --locale ru) || exit 1; done

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Library desk needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make run PYTHON=python3.13"; exit 1; }
	@touch .writable 2>/dev/null && rm .writable || { echo "Library desk cannot write to $(CURDIR)."; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); echo "$(PYTHON) has no venv module: install it (Debian: apt install python3-venv)."; exit 1; }

# The MySQL driver is compiled, so only where its headers stand.
$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "Installing packages …"
	@if pkg-config --exists mysqlclient 2>/dev/null || pkg-config --exists libmariadb 2>/dev/null; then cat requirements.txt; \
		else awk '/^[^ ]/ {keep = !/^mysqlclient==/} keep' requirements.txt; fi > $(VENV)/requirements.txt
	@$(BIN)/pip install --quiet --quiet --disable-pip-version-check -r $(VENV)/requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.installed
	@$(BIN)/pip install --quiet --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

staticfiles/staticfiles.json: $(VENV)/.installed $(shell find project/static -type f)
	@echo "Collecting static files …"
	@$(BIN)/python manage.py collectstatic --noinput --clear --verbosity 0
	@touch $@

# A consistent dump while the desk is open. It holds members' addresses: for its owner only.
backup: FILE ?= backups/library-desk-$(shell date -u +%Y%m%dT%H%M%SZ).sql.gz
backup:
	@umask 077; mkdir -p "$(dir $(FILE))"
	@umask 077; docker compose exec -T db sh -c 'MYSQL_PWD=$$(cat /run/library-desk/mysql/root-password) \
		exec mysqldump --user=root --protocol=socket --single-transaction --quick --hex-blob \
		--routines --triggers --events --no-tablespaces --set-gtid-purged=OFF \
		--default-character-set=utf8mb4 librarydesk' | gzip > "$(FILE).part"
	@gzip -dc "$(FILE).part" | tail -n 1 | grep -q '^-- Dump completed' || { rm -f "$(FILE).part"; echo "The dump broke off: no backup was made."; exit 1; }
	@mv "$(FILE).part" "$(FILE)"; echo "Backup: $(FILE)"

# Replaces what is there; an older dump is migrated afterwards.
restore:
	@test -n "$(FILE)" -a -r "$(FILE)" || { echo "Which one? make restore FILE=backups/….sql.gz"; exit 1; }
	@gzip -dc "$(FILE)" | tail -n 1 | grep -q '^-- Dump completed' || { echo "$(FILE) is no complete backup: nothing was changed."; exit 1; }
	@docker compose up -d --wait db
	@docker compose stop web worker beat
	@{ echo 'DROP DATABASE IF EXISTS librarydesk; CREATE DATABASE librarydesk; USE librarydesk;'; gzip -dc "$(FILE)"; } | \
		docker compose exec -T db sh -c 'MYSQL_PWD=$$(cat /run/library-desk/mysql/root-password) \
		exec mysql --user=root --protocol=socket --default-character-set=utf8mb4'
	@docker compose up -d --wait
	@echo "Restored: $(FILE)"
