# make            build server and client; make PORTABLE=1 does it without what only Linux has
# make demo       play the pair in one terminal
# make test       build and run every test
# make clean      leave nothing but the sources
#
# CC, CFLAGS, CPPFLAGS, LDFLAGS are yours to set, here or in the environment. Works with GNU make and bmake.

CC ?= cc
CFLAGS ?= -O2 -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion
COMPILE = $(CC) $(CPPFLAGS) $(PORTABLE:1=-DPORTABLE) $(CFLAGS) $(LDFLAGS)

TOOLS = tests/pair tests/peer

.SUFFIXES: .c
.c:
	$(COMPILE) -o $@ $<

all: server client

server client: common.h tests/.flags

$(TOOLS): tests/.flags

# Remembers how things were compiled, so that other flags compile them anew.
tests/.flags: always
	@echo '$(COMPILE)' | cmp -s - $@ || echo '$(COMPILE)' >$@

tools: $(TOOLS)

demo: all $(TOOLS)
	@sh tests/demo.sh

test: all $(TOOLS)
	@sh tests/run.sh

always:

clean:
	rm -f server client $(TOOLS) tests/.flags log.txt

.PHONY: all always clean demo test tools
