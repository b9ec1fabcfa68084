// SPDX-License-Identifier: Apache-2.0
// Tries lib/net on real bridges: two hosts, a switch between them, a client, a partition, all as
// unnamed network namespaces that vanish with this process. Needs root and ip(8).
//
// usage: netcheck CASE   (without one: lists them)
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/net/hold.h"
#include "lib/net/netlink.h"
#include "lib/net/port.h"
#include "lib/net/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define CHECK(condition)                                                          \
	do {                                                                      \
		if (!(condition))                                                 \
			die("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
	} while (0)
#define OK(call)                                                             \
	do {                                                                 \
		if ((call) < 0)                                              \
			die("%s:%d: %s", __FILE__, __LINE__, error.message); \
	} while (0)
#define FAILS(call, code)                                                                \
	do {                                                                             \
		error_clear(&error);                                                     \
		if ((call) >= 0 || error.id != (code))                                   \
			die("%s:%d: expected %s, got \"%s\"", __FILE__, __LINE__, #code, \
			    error.message);                                              \
		printf("  refused: %s\n", error.message);                                \
	} while (0)

static struct error error;
static int home, sw, hosts[2], client, part; // network namespaces
static const struct mac mac = {{0x02, 0, 0x0a, 0x4d, 0, 0x32}};
static struct address addresses[2], gateways[2];
static char outer[IFNAMSIZ], holder[IFNAMSIZ];
static pid_t echo;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

// ---- places ------------------------------------------------------------------------------------

static void enter(int netns)
{
	CHECK(setns(netns, CLONE_NEWNET) == 0);
}

static int new_netns(void)
{
	CHECK(unshare(CLONE_NEWNET) == 0);
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	OK(port_loopback_up(NETNS_CURRENT, &error));
	enter(home);
	return fd;
}

// Runs a command line in a namespace and returns its status.
__attribute__((format(printf, 2, 3))) static int sh(int netns, const char *format, ...)
{
	char line[512];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fflush(stdout);
	enter(netns);
	int status = system(line);
	enter(home);
	return status;
}

#define SH(...) CHECK(sh(__VA_ARGS__) == 0)

static void cable(int netns, const char *name, const char *switch_port)
{
	SH(netns, "ip link add %s type veth peer name %s netns /proc/%d/fd/%d", name, switch_port,
	   getpid(), sw);
	SH(sw, "ip link set %s master br0 up", switch_port);
	SH(netns, "ip link set %s up", name);
}

static void build(void)
{
	home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	sw = new_netns();
	client = new_netns();
	part = new_netns();
	SH(sw, "ip link add br0 type bridge forward_delay 0 && ip link set br0 up");
	cable(client, "eth0", "pc");
	for (int i = 0; i < 2; i++) {
		hosts[i] = new_netns();
		SH(hosts[i], "ip link add br0 type bridge forward_delay 0 && ip link set br0 up");
		cable(hosts[i], "up0", i ? "pb" : "pa");
		SH(hosts[i],
		   "ip link set up0 master br0 && ip addr add 10.77.0.%d/24 dev br0 && "
		   "ip addr add fd77::%d/64 dev br0 nodad",
		   i + 1, i + 1);
	}
	SH(client, "ip addr add 10.77.0.100/24 dev eth0; ip addr add fd77::100/64 dev eth0 nodad");
	OK(address_parse_cidr("10.77.0.50/24", &addresses[0], &error));
	OK(address_parse_cidr("fd77::50/64", &addresses[1], &error));
	OK(address_parse_host("10.77.0.1", &gateways[0], &error));
	OK(address_parse_host("fd77::1", &gateways[1], &error));
	port_name("p", 0, outer);
	hold_name("p", 0, holder);
}

static struct port_spec spec_of(int host)
{
	return (struct port_spec){
		.ifname = outer,
		.inner = host ? "eth1" : "eth0",
		.bridge = "br0",
		.mac = mac,
		.addresses = addresses,
		.address_count = 2,
		.gateways = gateways,
		.gateway_count = host ? 0 : 2,
		.host_netns = hosts[host],
		.netns = NETNS_CURRENT,
		.disabled = host,
	};
}

// As a keeper does it: from the partition's own namespace.
static void plug(int host)
{
	struct port_spec spec = spec_of(host);
	enter(part);
	OK(port_create(&spec, &error));
	enter(home);
}

static struct port *open_port(int host)
{
	enter(hosts[host]);
	struct port *port = port_open(outer, &error);
	enter(home);
	if (!port)
		die("%s", error.message);
	return port;
}

static struct hold *open_hold(int host)
{
	enter(hosts[host]);
	struct hold *hold = hold_open(holder, "br0", &mac, addresses, 2, &error);
	enter(home);
	if (!hold)
		die("%s", error.message);
	return hold;
}

static struct link_facts facts_of(int netns, const char *ifname)
{
	struct link_facts facts = {0};
	_cleanup_netlink_ struct netlink *nl = netlink_open(netns, &error);
	if (!nl || netlink_link(nl, ifname, &facts, &error) < 0)
		die("%s", error.message);
	return facts;
}

// As `ip link set IFNAME down`, without starting a program while the clock runs.
static void set_down(int netns, const char *ifname)
{
	enter(netns);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enter(home);
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
}

// ---- traffic -----------------------------------------------------------------------------------

static int socket_in(int netns, int type)
{
	enter(netns);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	enter(home);
	CHECK(fd >= 0);
	return fd;
}

static const struct sockaddr_in *echo_address(void)
{
	static struct sockaddr_in to = {.sin_family = AF_INET};
	to.sin_port = htons(7);
	to.sin_addr = addresses[0].v4;
	return &to;
}

static void serve(int udp, int listener)
{
	static uint8_t bytes[65536];
	struct pollfd fds[3] = {{udp, POLLIN, 0}, {listener, POLLIN, 0}, {-1, POLLIN, 0}};
	for (;;) {
		poll(fds, 3, -1);
		if (fds[0].revents) {
			struct sockaddr_in from;
			socklen_t size = sizeof(from);
			ssize_t n = recvfrom(udp, bytes, sizeof(bytes), 0, (void *)&from, &size);
			sendto(udp, bytes, n > 16 ? 16 : (size_t)n, 0, (void *)&from, size);
		}
		if (fds[1].revents)
			fds[2].fd = accept(listener, NULL, NULL);
		if (fds[2].fd >= 0 && fds[2].revents) {
			ssize_t n = read(fds[2].fd, bytes, sizeof(bytes));
			if (n <= 0 || write(fds[2].fd, bytes, (size_t)n) != n)
				fds[2].fd = -1;
		}
	}
}

// Echoes UDP datagrams and one TCP connection, in the partition.
static void start_echo(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7)};
	int udp = socket_in(part, SOCK_DGRAM), listener = socket_in(part, SOCK_STREAM);
	int room = 16 << 20;
	setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	CHECK(bind(udp, (void *)&any, sizeof(any)) == 0);
	CHECK(bind(listener, (void *)&any, sizeof(any)) == 0 && listen(listener, 4) == 0);
	echo = fork();
	if (echo == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(udp, listener);
	}
}

// The partition's only process stands for all: nothing may be under way when its port is disabled.
static void freeze(void)
{
	int status;
	kill(echo, SIGSTOP);
	CHECK(waitpid(echo, &status, WUNTRACED) == echo && WIFSTOPPED(status));
}

static void thaw(void)
{
	kill(echo, SIGCONT);
}

// A datagram each millisecond; each must come back.
struct pinger {
	pthread_t thread;
	int fd;
	bool stop;
	unsigned sent, received;
	double worst_ms;
};

static void receive_pongs(struct pinger *p)
{
	int64_t at;
	while (recv(p->fd, &at, sizeof(at), MSG_DONTWAIT) == sizeof(at)) {
		double ms = clock_ms_since(at);
		p->received++;
		if (ms > p->worst_ms)
			p->worst_ms = ms;
	}
}

static void *ping_loop(void *arg)
{
	struct pinger *p = arg;
	for (; !__atomic_load_n(&p->stop, __ATOMIC_RELAXED); p->sent++) {
		int64_t now = clock_now_ns();
		send(p->fd, &now, sizeof(now), 0);
		clock_sleep_ms(1);
		receive_pongs(p);
	}
	clock_sleep_ms(50);
	receive_pongs(p);
	return NULL;
}

static void start_ping(struct pinger *p, int netns)
{
	*p = (struct pinger){.fd = socket_in(netns, SOCK_DGRAM)};
	CHECK(connect(p->fd, (void *)echo_address(), sizeof(struct sockaddr_in)) == 0);
	CHECK(pthread_create(&p->thread, NULL, ping_loop, p) == 0);
	clock_sleep_ms(50);
}

static unsigned stop_ping(struct pinger *p, const char *who)
{
	__atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
	pthread_join(p->thread, NULL);
	printf("  %s: %u sent, %u lost, worst answer after %.2f ms\n", who, p->sent,
	       p->sent - p->received, p->worst_ms);
	return p->sent - p->received;
}

static int start_tcp(int netns)
{
	char text[4096] = {0};
	int fd = socket_in(netns, SOCK_STREAM), one = 1;
	CHECK(connect(fd, (void *)echo_address(), sizeof(struct sockaddr_in)) == 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < 20; i++) // so that the window opens
		CHECK(write(fd, text, sizeof(text)) == sizeof(text) &&
		      recv(fd, text, sizeof(text), MSG_WAITALL) == sizeof(text));
	return fd;
}

static unsigned retransmissions(int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);
	CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
	return info.tcpi_total_retrans;
}

// Does something with the partition's address answer? A datagram to a port that nobody has comes
// back as an ICMP error.
static bool reaches(int netns, const char *to)
{
	struct address address;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	char byte = 0;
	OK(address_parse_host(to, &address, &error));
	v4.sin_addr = address.v4;
	v6.sin6_addr = address.v6;
	enter(netns);
	_cleanup_close_ int fd = socket(address.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enter(home);
	CHECK(fd >= 0);
	CHECK(connect(fd, address.family == AF_INET ? (void *)&v4 : (void *)&v6,
		      address.family == AF_INET ? sizeof(v4) : sizeof(v6)) == 0);
	send(fd, &byte, 1, 0);
	struct pollfd wait = {fd, POLLIN, 0};
	poll(&wait, 1, 1000);
	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED;
}

// ---- cases -------------------------------------------------------------------------------------

static void addresses_are_there(const char *inner)
{
	SH(part, "ip -j link show lo | grep -q '\"UP\"'");
	SH(part, "ip -j addr show dev %s | grep -q '\"address\":\"02:00:0a:4d:00:32\"'", inner);
	SH(part, "ip -4 addr show dev %s | grep -q 'inet 10.77.0.50/24 brd 10.77.0.255'", inner);
	SH(part, "ip -6 addr show dev %s | grep -q 'inet6 fd77::50/64 scope global nodad'", inner);
	SH(part, "ip -6 addr show dev %s | grep -q 'inet6 fe80::aff:fe4d:32/64 scope link'", inner);
	SH(part, "! ip -6 addr show | grep -q tentative");
	SH(part, "[ $(cat /proc/sys/net/ipv6/conf/%s/accept_dad) = 0 ]", inner);
}

static void case_create(void)
{
	SH(hosts[0], "ip link set br0 mtu 1400");
	struct link_facts before = facts_of(hosts[0], "br0");
	plug(0);
	addresses_are_there("eth0");
	SH(part, "ip route | grep -q '^default via 10.77.0.1 dev eth0'");
	SH(part, "ip -6 route | grep -q '^default via fd77::1 dev eth0'");
	CHECK(facts_of(part, "eth0").mtu == 1400);
	CHECK(facts_of(hosts[0], outer).state == BR_STATE_FORWARDING);
	struct hold *hold = open_hold(0);
	CHECK(facts_of(hosts[0], holder).mtu == 1400);
	struct link_facts after = facts_of(hosts[0], "br0");
	CHECK(after.mtu == before.mtu && mac_equal(&after.mac, &before.mac));
	hold_close(hold);
	SH(hosts[0], "[ -z \"$(ip -6 addr show dev %s)\" ]", outer);
	CHECK(reaches(client, "10.77.0.50") && reaches(client, "fd77::50"));
	OK(port_remove(outer, hosts[0], &error));
	CHECK(facts_of(hosts[0], outer).ifindex == 0 && facts_of(part, "eth0").ifindex == 0);
	OK(port_remove(outer, hosts[0], &error));
}

static void case_refusals(void)
{
	struct port_spec spec = spec_of(0);
	spec.netns = part;
	spec.bridge = "br9";
	FAILS(port_create(&spec, &error), ERR_BRIDGE_MISSING);
	spec.bridge = "up0";
	FAILS(port_create(&spec, &error), ERR_BRIDGE_MISSING);
	spec.bridge = "br0";
	OK(address_parse_host("10.78.0.1", &gateways[0], &error));
	FAILS(port_create(&spec, &error), ERR_NETWORK);
	CHECK(facts_of(hosts[0], outer).ifindex == 0 && facts_of(part, "eth0").ifindex == 0);
	SH(hosts[0], "ip link set br0 type bridge stp_state 1");
	FAILS(port_check_bridge("br0", hosts[0], &error), ERR_BRIDGE_UNFIT);
	SH(hosts[0], "ip link set br0 type bridge stp_state 0 && ip link set br0 down");
	FAILS(port_check_bridge("br0", hosts[0], &error), ERR_BRIDGE_UNFIT);
	SH(hosts[0], "ip link set br0 up");
	OK(address_parse_host("10.77.0.1", &gateways[0], &error));
	OK(port_create(&spec, &error));
	FAILS(port_create(&spec, &error), ERR_NETWORK);
	CHECK(facts_of(hosts[0], outer).ifindex != 0);
	enter(hosts[0]);
	FAILS(port_open("wpnone", &error) ? 0 : -1, ERR_NETWORK);
	FAILS(port_open("up0x", &error) ? 0 : -1, ERR_NETWORK);
	FAILS(hold_open(holder, "br9", &mac, addresses, 2, &error) ? 0 : -1, ERR_BRIDGE_MISSING);
	_cleanup_hold_ struct hold *hold = hold_open(holder, "br0", &mac, addresses, 2, &error);
	CHECK(hold);
	FAILS(hold_open(holder, "br0", &mac, addresses, 2, &error) ? 0 : -1, ERR_NETWORK);
	enter(home);
}

// Counts what the client hears from the partition's MAC.
static unsigned heard(int fd)
{
	uint8_t frame[2048];
	unsigned count = 0;
	ssize_t n;
	while ((n = recv(fd, frame, sizeof(frame), MSG_DONTWAIT)) > 0)
		count += n > 12 && !memcmp(frame + 6, mac.bytes, 6);
	return count;
}

// A partition that arrives is not heard, not even for a moment, and its port stays disabled.
static void case_arriving(void)
{
	enter(client);
	_cleanup_close_ int ear = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	enter(home);
	CHECK(ear >= 0);
	for (int i = 0; i < 5; i++) {
		plug(1);
		CHECK(facts_of(hosts[1], outer).state == BR_STATE_DISABLED);
		CHECK(facts_of(part, "eth1").oper_up);
		if (i < 4)
			OK(port_remove(outer, hosts[1], &error));
	}
	CHECK(!reaches(part, "10.77.0.100"));
	clock_sleep_ms(1500);
	CHECK(facts_of(hosts[1], outer).state == BR_STATE_DISABLED);
	CHECK(facts_of(part, "eth1").oper_up);
	CHECK(heard(ear) == 0);
	_cleanup_port_ struct port *port = open_port(1);
	OK(port_enable(port, &error));
	CHECK(reaches(client, "10.77.0.50") && reaches(client, "fd77::50"));
	CHECK(heard(ear) > 0);
	OK(port_disable(port, &error));
	CHECK(facts_of(part, "eth1").oper_up);
	CHECK(!reaches(client, "10.77.0.50"));
}

// How many held frames are segments not yet cut (virtio_net_hdr's gso_type).
static unsigned count_uncut(const struct hold *hold)
{
	static uint8_t piece[262144];
	size_t cursor = 0, length;
	unsigned count = 0;
	while ((length = hold_serialise(hold, &cursor, piece, sizeof(piece)))) {
		uint32_t record;
		for (size_t at = 0; at < length; at += 4 + record) {
			memcpy(&record, piece + at, sizeof(record));
			count += piece[at + 4 + 2 + 1] != 0;
		}
	}
	return count;
}

// What is sent while the partition moves arrives: from the client, and from a neighbour on either
// host; no datagram is lost, TCP retransmits nothing, uncut segments included.
static unsigned move(int held_ms, struct hold *from, struct hold *to, struct port *port,
		     struct port *there)
{
	static uint8_t piece[262144];
	size_t cursor = 0, length;
	freeze();
	int64_t start = clock_now_ns();
	OK(hold_begin(from, port, &error));
	double begun = clock_ms_since(start);
	clock_sleep_ms(held_ms / 4);
	start = clock_now_ns();
	OK(hold_begin(to, NULL, &error));
	OK(hold_announce(to, &error));
	double announced = clock_ms_since(start);
	clock_sleep_ms(held_ms);
	OK(hold_collect(from, &error));
	OK(hold_collect(to, &error));
	while ((length = hold_serialise(from, &cursor, piece, sizeof(piece))))
		OK(hold_add_frames(to, piece, length, &error));
	set_down(part, "eth0");
	struct hold_stats a, b, c;
	unsigned uncut = count_uncut(to);
	hold_stats(from, &a);
	hold_stats(to, &b);
	start = clock_now_ns();
	OK(hold_release(to, there, &error));
	double released = clock_ms_since(start);
	thaw();
	hold_stats(to, &c);
	printf("  held %zu here, %zu there (%u uncut), %zu injected, %zu failed; begin %.3f, "
	       "announced %.3f, release %.3f ms\n",
	       a.own, b.own, uncut, c.injected, c.failed, begun, announced, released);
	CHECK(a.dropped == 0 && c.dropped == 0 && c.failed == 0 && c.injected >= a.own + b.own);
	return uncut;
}

static void case_move(void)
{
	static uint8_t bulk[60000], back[sizeof(bulk)];
	struct pinger far, near[2];
	plug(0);
	plug(1);
	start_echo();
	SH(client,
	   "sysctl -qw net.ipv4.tcp_early_retrans=0"); // no probes of the tail: 30 ms are long
	_cleanup_port_ struct port *port = open_port(0), *there = open_port(1);
	_cleanup_hold_ struct hold *from = open_hold(0), *to = open_hold(1);
	start_ping(&far, client);
	start_ping(&near[0], hosts[0]);
	start_ping(&near[1], hosts[1]);
	int tcp = start_tcp(client);
	memset(bulk, 'x', sizeof(bulk));
	CHECK(facts_of(part, "eth0").oper_up);
	if (fork() == 0) { // sends into the hold
		clock_sleep_ms(15);
		_exit(write(tcp, bulk, sizeof(bulk)) != sizeof(bulk));
	}
	CHECK(move(40, from, to, port, there) > 0);
	CHECK(recv(tcp, back, sizeof(back), MSG_WAITALL) == sizeof(back));
	CHECK(!memcmp(back, bulk, sizeof(back)));
	unsigned again = retransmissions(tcp);
	clock_sleep_ms(100);
	hold_close(take_ptr(from));
	hold_close(take_ptr(to));
	clock_sleep_ms(100);
	unsigned lost = stop_ping(&far, "client") +
			stop_ping(&near[0], "neighbour on the old host") +
			stop_ping(&near[1], "neighbour on the new host");
	printf("  TCP retransmissions: %u\n", again);
	CHECK(lost == 0 && again == 0);
	SH(hosts[0], "ip link show %s >/dev/null 2>&1; [ $? = 1 ]", holder);
}

// The move without anything between: what the switching itself costs.
static void case_gap(void)
{
	struct pinger far;
	plug(0);
	plug(1);
	start_echo();
	_cleanup_port_ struct port *port = open_port(0), *there = open_port(1);
	_cleanup_hold_ struct hold *from = open_hold(0), *to = open_hold(1);
	start_ping(&far, client);
	move(0, from, to, port, there);
	clock_sleep_ms(100);
	CHECK(stop_ping(&far, "client") == 0);
}

static void case_abort(void)
{
	struct pinger far, near;
	plug(0);
	plug(1);
	start_echo();
	_cleanup_port_ struct port *port = open_port(0);
	_cleanup_hold_ struct hold *from = open_hold(0), *to = open_hold(1);
	int tcp = start_tcp(client);
	CHECK(reaches(hosts[0], "10.77.0.50")); // so that it needs not ask for the MAC later
	freeze();
	OK(hold_begin(from, port, &error));
	start_ping(&far, client);
	start_ping(&near, hosts[0]);
	OK(hold_begin(to, NULL, &error));
	OK(hold_announce(to, &error));
	clock_sleep_ms(30);
	OK(hold_announce(from, &error));
	clock_sleep_ms(20);
	OK(hold_release(from, port, &error));
	thaw();
	hold_close(take_ptr(to));
	clock_sleep_ms(100);
	struct hold_stats stats;
	hold_stats(from, &stats);
	CHECK(stats.injected > 0 && stats.failed == 0);
	unsigned lost = stop_ping(&far, "client") + stop_ping(&near, "neighbour");
	// Only what came while the address was announced elsewhere: held there and thrown away.
	CHECK(lost > 0 && lost <= 2 * 45);
	char text[100] = {0};
	CHECK(write(tcp, text, sizeof(text)) == sizeof(text) &&
	      recv(tcp, text, sizeof(text), MSG_WAITALL) == sizeof(text));
	start_ping(&far, client);
	CHECK(stop_ping(&far, "client afterwards") == 0);
}

// A querier on the network makes bridges forward multicast to members only.
static void case_snooping(void)
{
	SH(sw, "ip link set br0 type bridge mcast_snooping 1 mcast_querier 1 "
	       "mcast_query_response_interval 10");
	for (int i = 0; i < 2; i++)
		SH(hosts[i], "ip link set br0 type bridge mcast_snooping 1");
	clock_sleep_ms(2500);
	plug(1);
	_cleanup_port_ struct port *there = open_port(1);
	_cleanup_hold_ struct hold *to = open_hold(1);
	OK(hold_begin(to, NULL, &error));
	OK(hold_announce(to, &error));
	SH(client, "ip -6 neigh flush dev eth0");
	CHECK(!reaches(client, "fd77::50"));
	struct hold_stats stats;
	OK(hold_collect(to, &error));
	hold_stats(to, &stats);
	printf("  solicitations held: %zu\n", stats.own);
	CHECK(stats.own > 0);
	OK(hold_release(to, there, &error));
	SH(client, "ip -6 neigh flush dev eth0");
	CHECK(reaches(client, "fd77::50"));
}

static void flood(unsigned count, size_t size)
{
	static uint8_t bytes[1400];
	int fd = socket_in(client, SOCK_DGRAM);
	for (unsigned i = 0; i < count; i++)
		sendto(fd, bytes, size, 0, (void *)echo_address(), sizeof(struct sockaddr_in));
	close(fd);
}

static void case_bounds(void)
{
	struct hold_stats stats;
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7)};
	int udp = socket_in(part, SOCK_DGRAM), room = 16 << 20;
	char byte;
	unsigned arrived = 0;
	setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	CHECK(bind(udp, (void *)&any, sizeof(any)) == 0);
	plug(0);
	CHECK(reaches(client, "10.77.0.50"));
	_cleanup_port_ struct port *port = open_port(0);
	_cleanup_hold_ struct hold *hold = open_hold(0);
	OK(hold_begin(hold, port, &error));
	for (int i = 0; i < 6; i++) {
		flood(1000, 10);
		OK(hold_collect(hold, &error));
	}
	hold_stats(hold, &stats);
	printf("  small: %zu held, %zu dropped\n", stats.own, stats.dropped);
	CHECK(stats.own == HOLD_FRAMES_MAX && stats.own + stats.dropped >= 6000);
	int64_t start = clock_now_ns();
	OK(hold_release(hold, port, &error));
	printf("  release with 4096 frames: %.3f ms\n", clock_ms_since(start));
	hold_stats(hold, &stats);
	CHECK(stats.injected == HOLD_FRAMES_MAX && stats.failed == 0);
	while (recv(udp, &byte, 1, MSG_DONTWAIT) == 1)
		arrived++;
	printf("  %u datagrams arrived\n", arrived);
	CHECK(arrived > HOLD_FRAMES_MAX - 10); // the others are questions for the MAC
	OK(hold_begin(hold, port, &error));
	for (int i = 0; i < 4; i++) {
		flood(1000, 1400);
		OK(hold_collect(hold, &error));
	}
	hold_stats(hold, &stats);
	printf("  large: %zu held\n", stats.own);
	CHECK(stats.own < HOLD_FRAMES_MAX && stats.own >= HOLD_BYTES_MAX / 1500);
}

#define MANY 800

// A partition that has moved knows nobody and answers everybody at once: nothing may fall out of
// the queue for a neighbour that takes its time to say where it is.
static void case_burst(void)
{
	static int servers[MANY];
	struct sockaddr_in any = {.sin_family = AF_INET}, to = *echo_address(), from;
	char byte = 0;
	unsigned answers = 0;
	int fd = socket_in(client, SOCK_DGRAM), room = 16 << 20;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){MANY + 100, MANY + 100}) == 0);
	plug(1);
	_cleanup_port_ struct port *port = open_port(1);
	_cleanup_hold_ struct hold *hold = open_hold(1);
	SH(client, "ip neigh replace 10.77.0.50 lladdr 02:00:0a:4d:00:32 dev eth0");
	OK(hold_begin(hold, NULL, &error));
	OK(hold_announce(hold, &error));
	for (int i = 0; i < MANY; i++) {
		any.sin_port = to.sin_port = htons((uint16_t)(1000 + i));
		servers[i] = socket_in(part, SOCK_DGRAM);
		CHECK(bind(servers[i], (void *)&any, sizeof(any)) == 0);
		sendto(fd, &byte, 1, 0, (void *)&to, sizeof(to));
	}
	SH(client, "ip link set eth0 arp off");
	OK(hold_release(hold, port, &error));
	for (int i = 0; i < MANY; i++) {
		socklen_t size = sizeof(from);
		CHECK(recvfrom(servers[i], &byte, 1, MSG_DONTWAIT, (void *)&from, &size) == 1);
		CHECK(sendto(servers[i], &byte, 1, 0, (void *)&from, size) == 1);
	}
	SH(client, "ip link set eth0 arp on");
	clock_sleep_ms(1500); // it hears the second question
	while (recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
		answers++;
	printf("  %u of %d answers\n", answers, MANY);
	CHECK(answers == MANY);
}

// However the process ends, the kernel removes the device and the bridge's entry.
static void case_death(void)
{
	plug(0);
	CHECK(reaches(client, "10.77.0.50"));
	pid_t child = fork();
	if (child == 0) {
		struct hold *hold = open_hold(0);
		_cleanup_port_ struct port *port = open_port(0);
		OK(hold_begin(hold, port, &error));
		raise(SIGSTOP);
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	SH(hosts[0], "bridge fdb show br br0 | grep -q '^02:00:0a:4d:00:32 dev %s'", holder);
	kill(child, SIGKILL);
	CHECK(waitpid(child, NULL, 0) == child);
	CHECK(facts_of(hosts[0], holder).ifindex == 0);
	SH(hosts[0], "! bridge fdb show br br0 | grep '^02:00:0a:4d:00:32'");
	_cleanup_port_ struct port *port = open_port(0);
	CHECK(facts_of(hosts[0], outer).state == BR_STATE_DISABLED);
	OK(port_enable(port, &error));
	CHECK(reaches(client, "10.77.0.50"));
}

static int probe(const char *text, const struct mac *own)
{
	struct address address;
	OK(address_parse_host(text, &address, &error));
	enter(hosts[1]);
	int64_t start = clock_now_ns();
	int result = probe_addresses("br0", &address, 1, own, deadline_in_ms(200), &error);
	printf("  %s: %.1f ms\n", text, clock_ms_since(start));
	enter(home);
	return result;
}

static void case_probe(void)
{
	plug(0);
	OK(probe("10.77.0.51", &mac));
	OK(probe("fd77::51", &mac));
	OK(probe("10.77.0.50", &mac));
	OK(probe("fd77::50", &mac));
	FAILS(probe("10.77.0.50", NULL), ERR_ADDRESS_TAKEN);
	FAILS(probe("fd77::50", NULL), ERR_ADDRESS_TAKEN);
	FAILS(probe("10.77.0.100", &mac), ERR_ADDRESS_TAKEN);
	FAILS(probe("fd77::100", &mac), ERR_ADDRESS_TAKEN);
	FAILS(probe("10.77.0.2", &mac), ERR_ADDRESS_TAKEN);
	SH(client, "! ip neigh show 10.77.0.51 | grep -q lladdr");
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

#define ROUNDS 200
static void show(const char *what, double us[ROUNDS])
{
	qsort(us, ROUNDS, sizeof(*us), compare_doubles);
	printf("  %-28s median %7.1f us, 99 %% %7.1f us\n", what, us[ROUNDS / 2],
	       us[ROUNDS * 99 / 100]);
}

#define TIME(into, call)                                          \
	do {                                                      \
		int64_t start_ = clock_now_ns();                  \
		OK(call);                                         \
		(into) = (double)(clock_now_ns() - start_) / 1e3; \
	} while (0)

static void case_times(void)
{
	double us[6][ROUNDS];
	int64_t start = clock_now_ns();
	plug(0);
	printf("  port_create: %.2f ms\n", clock_ms_since(start));
	start = clock_now_ns();
	_cleanup_port_ struct port *port = open_port(0);
	printf("  port_open: %.2f ms\n", clock_ms_since(start));
	start = clock_now_ns();
	struct hold *hold = open_hold(0);
	printf("  hold_open: %.2f ms\n", clock_ms_since(start));
	for (int i = 0; i < ROUNDS; i++) {
		TIME(us[0][i], port_disable(port, &error));
		TIME(us[1][i], port_enable(port, &error));
		TIME(us[2][i], hold_begin(hold, port, &error));
		TIME(us[3][i], hold_announce(hold, &error));
		TIME(us[4][i], hold_collect(hold, &error));
		TIME(us[5][i], hold_release(hold, port, &error));
	}
	static const char *const names[] = {"port_disable",  "port_enable",  "hold_begin",
					    "hold_announce", "hold_collect", "hold_release"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		show(names[i], us[i]);
	start = clock_now_ns();
	hold_close(hold);
	printf("  hold_close: %.2f ms\n", clock_ms_since(start));
	start = clock_now_ns();
	OK(port_remove(outer, hosts[0], &error));
	printf("  port_remove: %.2f ms\n", clock_ms_since(start));
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"create", case_create}, {"refusals", case_refusals}, {"arriving", case_arriving},
	{"move", case_move},     {"gap", case_gap},           {"abort", case_abort},
	{"bounds", case_bounds}, {"burst", case_burst},       {"death", case_death},
	{"probe", case_probe},   {"snooping", case_snooping}, {"times", case_times},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (argc < 2) {
			puts(cases[i].name);
		} else if (!strcmp(argv[1], cases[i].name)) {
			build();
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : 2;
}
