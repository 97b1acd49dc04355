# Two commands set up a fresh machine that has Python 3.11 and make: `make demo` and `make test`. `make deb` packs the device;
# options of systemd/package/build.py go into DEB, such as DEB="--suite trixie --arch arm64"; DEB="--update KEY" makes updates.
# `sudo make image` makes an image for the card of a Raspberry Pi; options of systemd/image/make_image.py go into IMAGE.
PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-device test-system test-vm test-image lint deb image clean help

help:
	@echo "make demo   the whole path once on synthetic phantoms (out/demo)"
	@echo "make test   all tests but those of test-vm"
	@echo "make test-vm the package on an emulated Arm machine: install, faults, restarts, 20 power cuts, upgrade"
	@echo "make lint   ruff"
	@echo "make deb    Debian packages of the device, for bookworm and trixie, arm64 and amd64 (dist/)"
	@echo "make image  an image for the card of a Raspberry Pi 3, 4 or Zero 2 W (dist/busi-kd-pi.img.xz); as root"
	@echo "make test-image  the image, booted in an emulated machine (half an hour); as root"
	@echo "make clean  remove .venv and out/"

# One pip call with every package and every pin in it: a second, unpinned call pulls in numpy 2 and breaks onnx2tf.
# opencv-python (a dependency of onnx2tf) wants libGL; the headless build of the same version is laid over it.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or say make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[host,dicom,fleet,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --force-reinstall --no-deps opencv-python-headless
	@touch $@

demo: $(READY)
	$(BIN)/busi-kd demo --out out/demo

# Two halves side by side: what runs, browses and boots whole systems, and all else that the device does (each shows what it
# said once it has ended). Then what trains and converts, two files at a time.
# The tests also need programs of Debian's: .ci/packages installs them as root, and names them to anybody else.
HOST_TESTS := tests/convert tests/train tests/train_segmentation
SYSTEM_TESTS := tests/page_browser tests/updates tests/package tests/image tests/arm tests/vm
PYTEST = $(BIN)/python -m pytest --durations=15
test: $(READY)
	.ci/packages
	@failed=0; \
	$(MAKE) --no-print-directory -k -j2 -O test-device test-system || failed=1; \
	OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile $(HOST_TESTS) || failed=1; \
	exit $$failed

test-device: $(READY)
	@$(PYTEST) $(HOST_TESTS:%=--ignore=%) $(SYSTEM_TESTS:%=--ignore=%)

test-system: $(READY)
	@$(PYTEST) $(SYSTEM_TESTS)

# Boots a Debian for Arm under QEMU; BUSI_KD_SKIP_VM=1 is the only way around it (tests/boot/README.md).
test-vm: $(READY)
	.ci/packages vm
	$(BIN)/python -m pytest tests/boot -rP

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Needs pip, of whichever Python there is, and none of the packages of $(VENV).
deb:
	$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) systemd/package/build.py $(DEB)

# Needs root and Debian: docs/image.md. What is missing, it says.
image:
	$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) systemd/image/make_image.py $(IMAGE)

test-image: $(READY)
	$(BIN)/python -m tests.image.boot_image $(IMAGE)

clean:
	rm -rf $(VENV) out
