# Ce fichier ne fait qu'installer et lancer ; le travail est dans python -m gan_course.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# torch et torchvision ensemble et sans version : pip prend alors une paire qui va ensemble.
ifeq ($(TORCH),cpu)
TORCH_CPU := $(PIP) install torch torchvision --index-url https://download.pytorch.org/whl/cpu
endif

.DEFAULT_GOAL := aide
.PHONY: aide cours lab test bench publier propre

aide:
	@echo "make cours            installe le cours, exécute chaque chapitre et écrit build/cours/index.html"
	@echo "make cours TORCH=cpu  le même, avec les paquets PyTorch pour processeur, plus petits (Linux)"
	@echo "make cours MODE=cours la leçon entière au lieu du passage éclair"
	@echo "make lab              ouvre les carnets dans JupyterLab"
	@echo "make test             lance les tests ; ARGS=… les choisit : ARGS=tests/test_cli.py, ARGS=\"-m 'not lent'\""
	@echo "make bench            mesure la vitesse face à d'autres programmes : bench/RESULTS.md (machine au repos)"
	@echo "make publier          réécrit, depuis notebooks/sources/, les carnets, leurs badges et le tableau du README"
	@echo "make propre           enlève .venv et build"
	@echo "Sans make (Windows) : python -m gan_course, après l'installation que décrit le README."

cours: $(VENV)/cours.ok
	@$(BIN)/python -m gan_course run --mode $(or $(MODE),eclair)

lab: $(VENV)/cours.ok
	@$(BIN)/python -m gan_course lab

test: $(VENV)/tests.ok
	@$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/tests.ok
	@$(BIN)/python bench/results.py $(ARGS)

publier: $(VENV)/cours.ok
	@$(BIN)/python -m gan_course publish

# Les témoins *.ok sont plus récents que pyproject.toml tant que l'installation est à jour.
$(VENV)/cours.ok: pyproject.toml | $(BIN)/python
	$(TORCH_CPU)
	$(PIP) install -e ".[cours]"
	@touch $@

$(VENV)/tests.ok: pyproject.toml | $(BIN)/python
	$(TORCH_CPU)
	$(PIP) install -e ".[tests]"
	@touch $(VENV)/cours.ok $@

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "Il faut Python 3.11 ou plus récent. Installez-le, puis : make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

propre:
	rm -rf $(VENV) build
