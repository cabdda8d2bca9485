# Thin: meson and ninja build, scripts/check.py counts. Everything goes to build*/.
BUILD  ?= build
PREFIX ?= /usr/local

.PHONY: all demo check check-full check-kvm bench install clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD) programs

$(BUILD)/build.ninja:
	scripts/packages.sh build
	meson setup $(BUILD) --prefix $(PREFIX)

demo:
	scripts/demo.sh $(BUILD)

check:
	scripts/packages.sh check
	python3 scripts/check.py

check-full:
	scripts/packages.sh full
	python3 scripts/check.py --full

# Guests under the kernel's own KVM, in an outer machine that this makes: needs no virtualization.
check-kvm: all
	scripts/packages.sh check
	ninja -C $(BUILD) tests/test_kvm_cpu tests/test_kvm_facts tests/test_kvm_machine tests/test_kvm_modes
	python3 tests/kvm/boot.py $(BUILD)

bench: all
	tests/bench/run $(BUILD)

install: $(BUILD)/build.ninja
	meson configure $(BUILD) --prefix $(PREFIX)
	ninja -C $(BUILD) programs
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-*
