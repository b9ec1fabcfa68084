// SPDX-License-Identifier: Apache-2.0
#include "lib/net/contents.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/net/address.h"
#include "lib/net/neighbour.h"
#include "lib/net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#define ANSWER_MAX  65536
#define SETTING_MAX 4096
#define SETTINGS    "/proc/sys/net"
#define DEPTH_MAX   8

// ---- netlink -----------------------------------------------------------------------------------

typedef void line_fn(json_t *lines, const struct nlmsghdr *h);

static const struct rtattr *attribute(const void *first, size_t left, unsigned type)
{
	for (const struct rtattr *a = first; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

// Of a message with a header of that size.
#define ATTRIBUTE(h, header, type)                                           \
	attribute((const char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(header)), \
		  (h)->nlmsg_len - NLMSG_LENGTH(NLMSG_ALIGN(sizeof(header))), type)

static uint32_t number(const struct rtattr *a)
{
	uint32_t value = 0;
	if (a && RTA_PAYLOAD(a) >= sizeof(value))
		memcpy(&value, RTA_DATA(a), sizeof(value));
	return value;
}

static const char *address_text(int family, const struct rtattr *a, char text[ADDRESS_TEXT_MAX])
{
	size_t length = family == AF_INET6 ? 16 : 4;
	if (!a || RTA_PAYLOAD(a) < length ||
	    !inet_ntop(family, RTA_DATA(a), text, ADDRESS_TEXT_MAX))
		snprintf(text, ADDRESS_TEXT_MAX, "?");
	return text;
}

static const char *interface_name(uint32_t index, char name[IF_NAMESIZE])
{
	if (!if_indextoname(index, name))
		snprintf(name, IF_NAMESIZE, "?");
	return name;
}

// 1: that was the last of the answer.
static int read_packet(json_t *lines, line_fn *line, const struct nlmsghdr *h, size_t left)
{
	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		// A kernel without the subject answers with an error: then there is nothing of it.
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return 1;
		line(lines, h);
	}
	return 0;
}

static int list(json_t *lines, int protocol, uint16_t type, line_fn *line, struct error *err)
{
	_Alignas(struct nlmsghdr) static _Thread_local char answer[ANSWER_MAX];
	struct {
		struct nlmsghdr header;
		char family[NLMSG_ALIGN(sizeof(struct ifinfomsg))]; // 0: all; the longest of them
	} ask = {.header = {.nlmsg_len = sizeof(ask),
			    .nlmsg_type = type,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	if (protocol == NETLINK_NETFILTER)
		ask.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg));
	struct timeval limit = {.tv_sec = 5};
	_cleanup_close_ int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (sock < 0 && protocol == NETLINK_NETFILTER)
		return 0;
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    send(sock, &ask, ask.header.nlmsg_len, 0) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot list a network namespace");
	for (;;) {
		ssize_t n = recv(sock, answer, sizeof(answer), 0);
		if (n < 0)
			return error_sys(err, ERR_NETWORK, errno,
					 "cannot list a network namespace");
		if (read_packet(lines, line, (struct nlmsghdr *)answer, (size_t)n))
			return 0;
	}
}

// ---- a line of each kind
// -------------------------------------------------------------------------

// Modules of the kernel put these into every namespace when they are loaded.
static bool is_fallback(const char *name)
{
	static const char *const names[] = {"tunl0",    "gre0", "gretap0", "erspan0", "ip_vti0",
					    "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static void link_line(json_t *lines, const struct nlmsghdr *h)
{
	static const struct mac none;
	const struct ifinfomsg *m = NLMSG_DATA(h);
	const struct rtattr *name = ATTRIBUTE(h, *m, IFLA_IFNAME);
	const struct rtattr *mac = ATTRIBUTE(h, *m, IFLA_ADDRESS);
	const struct rtattr *info = ATTRIBUTE(h, *m, IFLA_LINKINFO);
	const struct rtattr *kind =
		info ? attribute(RTA_DATA(info), RTA_PAYLOAD(info), IFLA_INFO_KIND) : NULL;
	char text[MAC_TEXT_MAX];
	if (!name || is_fallback(RTA_DATA(name)))
		return;
	mac_format(mac && RTA_PAYLOAD(mac) >= sizeof(none) ? RTA_DATA(mac) : &none, text);
	json_array_append_new(lines, json_sprintf("interface %s (%s, %s, mtu %u, %s)",
						  (const char *)RTA_DATA(name),
						  kind ? (const char *)RTA_DATA(kind) : "plain",
						  text, number(ATTRIBUTE(h, *m, IFLA_MTU)),
						  m->ifi_flags & IFF_UP ? "up" : "down"));
}

// The link-local address comes with the interface.
static void address_line(json_t *lines, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *a = ATTRIBUTE(h, *m, IFA_LOCAL);
	char text[ADDRESS_TEXT_MAX], name[IF_NAMESIZE];
	if (m->ifa_family == AF_INET6 && m->ifa_scope == RT_SCOPE_LINK)
		return;
	json_array_append_new(
		lines, json_sprintf("address %s/%u on %s",
				    address_text(m->ifa_family,
						 a ? a : ATTRIBUTE(h, *m, IFA_ADDRESS), text),
				    m->ifa_prefixlen, interface_name(m->ifa_index, name)));
}

// Those that the kernel derives from addresses are no news, and what it has learnt is not kept.
static void route_line(json_t *lines, const struct nlmsghdr *h)
{
	const struct rtmsg *m = NLMSG_DATA(h);
	const struct rtattr *to = ATTRIBUTE(h, *m, RTA_DST), *via = ATTRIBUTE(h, *m, RTA_GATEWAY);
	char target[ADDRESS_TEXT_MAX + 8] = "default", gateway[ADDRESS_TEXT_MAX + 8] = "";
	char text[ADDRESS_TEXT_MAX], name[IF_NAMESIZE];
	if (m->rtm_protocol == RTPROT_KERNEL || m->rtm_protocol == RTPROT_REDIRECT ||
	    (m->rtm_flags & RTM_F_CLONED) ||
	    (m->rtm_type == RTN_LOCAL || m->rtm_type == RTN_BROADCAST ||
	     m->rtm_type == RTN_ANYCAST || m->rtm_type == RTN_MULTICAST))
		return;
	if (to)
		snprintf(target, sizeof(target), "%s/%u", address_text(m->rtm_family, to, text),
			 m->rtm_dst_len);
	if (via)
		snprintf(gateway, sizeof(gateway), " via %s",
			 address_text(m->rtm_family, via, text));
	json_array_append_new(lines,
			      json_sprintf("route %s%s on %s, table %u, type %u", target, gateway,
					   interface_name(number(ATTRIBUTE(h, *m, RTA_OIF)), name),
					   number(ATTRIBUTE(h, *m, RTA_TABLE)), m->rtm_type));
}

static void rule_line(json_t *lines, const struct nlmsghdr *h)
{
	const struct fib_rule_hdr *m = NLMSG_DATA(h);
	const char *family = m->family == AF_INET    ? "IPv4"
			     : m->family == AF_INET6 ? "IPv6"
						     : "another family";
	json_array_append_new(lines, json_sprintf("routing rule %u of %s (table %u, action %u)",
						  number(ATTRIBUTE(h, *m, FRA_PRIORITY)), family,
						  number(ATTRIBUTE(h, *m, FRA_TABLE)), m->action));
}

static void table_line(json_t *lines, const struct nlmsghdr *h)
{
	const struct nfgenmsg *m = NLMSG_DATA(h);
	const struct rtattr *name = ATTRIBUTE(h, *m, NFTA_TABLE_NAME);
	if (name && (h->nlmsg_type & 0xff) == NFT_MSG_NEWTABLE)
		json_array_append_new(lines,
				      json_sprintf("nftables table %s (family %u)",
						   (const char *)RTA_DATA(name), m->nfgen_family));
}

static void add_legacy_tables(json_t *lines, const char *path, const char *what)
{
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, SETTING_MAX, NULL);
	char *rest = NULL;
	for (char *name = text ? strtok_r(text, "\n", &rest) : NULL; name;
	     name = strtok_r(NULL, "\n", &rest))
		json_array_append_new(lines, json_sprintf("%s table %s", what, name));
}

// ---- settings ----------------------------------------------------------------------------------

// The kernel makes a key of its own when one is first needed; a partition that has just arrived
// looks for its neighbours in haste.
static bool changes_by_itself(const char *path)
{
	return strstr(path, "tcp_fastopen_key") || strstr(path, "/flush") ||
	       neighbour_hurries(path);
}

static void add_setting(json_t *lines, int folder, const char *name, const char *path)
{
	struct stat st;
	if (fstatat(folder, name, &st, 0) < 0 || !(st.st_mode & 0222) || !(st.st_mode & 0444) ||
	    changes_by_itself(path))
		return;
	_cleanup_free_ char *value = fdio_read_file(folder, name, SETTING_MAX, NULL);
	if (!value)
		return; // stable_secret, say, cannot be read while it is not set
	value[strcspn(value, "\n")] = 0;
	json_array_append_new(lines, json_sprintf("setting %s = %s", path, value));
}

static void add_settings(json_t *lines, int folder, const char *path, int depth)
{
	_cleanup_closedir_ DIR *dir = fdio_opendir(folder, NULL);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir))) {
		char inner[512];
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		if (entry->d_type != DT_DIR) {
			add_setting(lines, folder, entry->d_name, inner);
			continue;
		}
		_cleanup_close_ int below =
			openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (below >= 0 && depth < DEPTH_MAX)
			add_settings(lines, below, inner, depth + 1);
	}
}

// ---- the whole ---------------------------------------------------------------------------------

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *sorted(json_t *lines)
{
	size_t count = json_array_size(lines);
	_cleanup_free_ const char **texts = calloc(count + 1, sizeof(*texts));
	json_t *result = json_array();
	for (size_t i = 0; texts && i < count; i++)
		texts[i] = json_string_value(json_array_get(lines, i));
	if (texts)
		qsort(texts, count, sizeof(*texts), by_text);
	for (size_t i = 0; texts && i < count; i++)
		json_array_append_new(result, json_string(texts[i]));
	return result;
}

json_t *contents_read(int netns, struct error *err)
{
	_cleanup_netns_ int saved = -1;
	_cleanup_json_ json_t *lines = json_array();
	if (netns_enter(netns, &saved, err) < 0 ||
	    list(lines, NETLINK_ROUTE, RTM_GETLINK, link_line, err) < 0 ||
	    list(lines, NETLINK_ROUTE, RTM_GETADDR, address_line, err) < 0 ||
	    list(lines, NETLINK_ROUTE, RTM_GETROUTE, route_line, err) < 0 ||
	    list(lines, NETLINK_ROUTE, RTM_GETRULE, rule_line, err) < 0 ||
	    list(lines, NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, table_line,
		 err) < 0)
		return NULL;
	add_legacy_tables(lines, "/proc/thread-self/net/ip_tables_names", "iptables");
	add_legacy_tables(lines, "/proc/thread-self/net/ip6_tables_names", "ip6tables");
	_cleanup_close_ int settings = open(SETTINGS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (settings >= 0)
		add_settings(lines, settings, "net", 0);
	return sorted(lines);
}

// ---- comparing ---------------------------------------------------------------------------------

static const char *line_at(const json_t *lines, size_t i)
{
	return json_string_value(json_array_get(lines, i));
}

static size_t setting_length(const char *line)
{
	const char *end = strncmp(line, "setting ", 8) ? NULL : strstr(line, " = ");
	return end ? (size_t)(end - line) : 0;
}

// The value of the same setting in the other list; NULL: it is not there.
static const char *value_in(const json_t *lines, const char *line, size_t length)
{
	for (size_t i = 0; i < json_array_size(lines); i++) {
		const char *other = line_at(lines, i);
		if (setting_length(other) == length && !strncmp(other, line, length))
			return other + length + 3;
	}
	return NULL;
}

// One that only one list has: of a setting that is because of its value, or because a module of the
// kernel or an interface (which has a line of its own) came or went.
static int differs(const json_t *others, const char *line, bool added, struct error *err)
{
	size_t length = setting_length(line);
	const char *was = length ? value_in(others, line, length) : NULL;
	if (length && !was)
		return 0;
	if (length)
		return error_set(err, ERR_NETWORK_EXTRA, "the %.*s has been changed from %s to %s",
				 (int)length, line, added ? was : line + length + 3,
				 added ? line + length + 3 : was);
	return error_set(err, ERR_NETWORK_EXTRA, "%s %s", line,
			 added ? "is in its network and not part of its definition"
			       : "has been taken away or changed inside it");
}

int contents_compare(const json_t *before, const json_t *now, struct error *err)
{
	size_t i = 0, j = 0;
	int result = 0;
	while (result == 0 && (i < json_array_size(before) || j < json_array_size(now))) {
		const char *old = line_at(before, i), *new = line_at(now, j);
		int order = !old ? 1 : !new ? -1 : strcmp(old, new);
		if (order > 0)
			result = differs(before, new, true, err);
		else if (order < 0)
			result = differs(now, old, false, err);
		i += order <= 0;
		j += order >= 0;
	}
	return result;
}
