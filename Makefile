# make            build server and client; make PORTABLE=1 does it without what only Linux has
# make demo       play the pair in one terminal and draw what happened; SHOW=packets draws every packet, SHOW=nobody,
#                 SHOW=close and SHOW=killed what breaks without the half-close and without the reset,
#                 SHOW=transcripts what both print
# make test       build and run every test, and a sample of make torture: SEED=N takes the same one again
# make torture    the long form of the tests that break things; SEED=N repeats what is left to chance
# make bench      measure the pair, beside other programs, for some minutes; SIZE=MIB and ROUNDS=N make it smaller,
#                 BENCH='large delay' does a part of it
# make clean      remove what was built; log.txt, where client receives, stays
#
# CC, CFLAGS, CPPFLAGS, LDFLAGS, LDLIBS are yours to set, here or in the environment. Works with GNU make and bmake.

STRICT = -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion
CFLAGS ?= -O2
ASKED = $(PORTABLE:0=)
COMPILE = $(CC) $(CPPFLAGS) $(ASKED:1=-DPORTABLE) $(STRICT) $(CFLAGS)

TOOLS = tests/tools/run_sections tests/tools/run_pair tests/tools/peer tests/tools/tamper tests/tools/cable \
    tests/tools/packets tests/faults/torture tests/lesson/claims
FAULTY = tests/faults/server-faults tests/faults/client-faults

.SUFFIXES: .c
.c:
	$(COMPILE) $(LDFLAGS) -o $@ $< $(LDLIBS)

all: server client

server client: common.h tests/.flags

$(TOOLS): tests/tools/tools.h tests/.flags

tests/lesson/claims tests/tools/packets tests/tools/cable: tests/tools/wire.h

tests/tools/peer $(FAULTY): tests/faults/errors.h

# Remembers how things were compiled, so that other flags compile them anew.
tests/.flags: always
	@echo '$(COMPILE) $(LDFLAGS) $(LDLIBS)' >$@.$$$$; cmp -s $@.$$$$ $@ && rm $@.$$$$ || mv $@.$$$$ $@

tools: $(TOOLS) $(FAULTY)

# Both programs with calls that can be made to fail.
$(FAULTY): server.c client.c common.h tests/faults/faults.h tests/.flags

tests/faults/server-faults:
	$(COMPILE) -include tests/faults/faults.h $(LDFLAGS) -o $@ server.c $(LDLIBS)

tests/faults/client-faults:
	$(COMPILE) -include tests/faults/faults.h $(LDFLAGS) -o $@ client.c $(LDLIBS)

demo: all tests/tools/packets tests/tools/run_pair tests/tools/peer
	@sh tests/demo/demo.sh $(SHOW)

test: all tools
	@sh tests/run.sh

# SIZE, ROUNDS and SEED in the environment are its too.
bench: all tools
	@sh tests/bench/bench.sh $(BENCH)

always:

# The long form: every failure of every call, and a kill before every call.
torture: all tools
	@LONG=1 sh tests/run.sh

clean:
	rm -f server client $(TOOLS) $(FAULTY) tests/.flags

.PHONY: all always bench clean demo test tools torture
