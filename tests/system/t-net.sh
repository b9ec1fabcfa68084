#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ports, holds and address probes on real bridges, in namespaces of netcheck's own.

check_net() { # CASE
	timeout 60 "$BUILD/tests/tools/netcheck" "$1"
}

test_net_create() { check_net create; }
test_net_refusals() { check_net refusals; }
test_net_arriving_is_not_heard() { check_net arriving; }
test_net_move_loses_nothing() { check_net move; }
test_net_gap() { check_net gap; }
test_net_abort() { check_net abort; }
test_net_bounds() { check_net bounds; }
test_net_burst_on_arrival() { check_net burst; }
test_net_death_leaves_nothing() { check_net death; }
test_net_probe() { check_net probe; }
test_net_multicast_snooping() { check_net snooping; }
