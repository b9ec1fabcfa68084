// SPDX-License-Identifier: Apache-2.0
#include "lib/net/netlink.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/socket.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <xxhash.h>

#define IF_OPERSTATE_UP 6 // linux/if.h, which does not go together with net/if.h

struct netlink {
	struct nl_sock *sock;
	uint32_t sequence;
};

int netns_enter(int netns, int *saved, struct error *err)
{
	*saved = -1;
	if (netns < 0)
		return 0;
	*saved = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (*saved < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot open our network namespace");
	if (setns(netns, CLONE_NEWNET) == 0)
		return 0;
	int why = errno;
	close(take_fd(saved));
	return error_sys(err, ERR_NETWORK, why, "cannot enter a network namespace");
}

void netns_leave(int *saved)
{
	if (*saved < 0)
		return;
	// Going back to where we came from only fails if somebody took our privileges meanwhile;
	// nothing that this thread does afterwards would then be right.
	if (setns(*saved, CLONE_NEWNET) < 0)
		abort();
	close(take_fd(saved));
}

struct netlink *netlink_open(int netns, struct error *err)
{
	_cleanup_netns_ int saved = -1;
	struct netlink *nl = calloc(1, sizeof(*nl));
	if (!nl || !(nl->sock = nl_socket_alloc())) {
		free(nl);
		error_set(err, ERR_NOMEM, "no memory for a netlink socket");
		return NULL;
	}
	if (netns_enter(netns, &saved, err) < 0)
		goto fail;
	int status = nl_connect(nl->sock, NETLINK_ROUTE);
	if (status < 0) {
		error_set(err, ERR_NETWORK, "cannot open a netlink socket: %s",
			  nl_geterror(status));
		goto fail;
	}
	int on = 1, fd = nl_socket_get_fd(nl->sock);
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return nl;
fail:
	netlink_close(nl);
	return NULL;
}

void netlink_close(struct netlink *nl)
{
	if (!nl)
		return;
	nl_socket_free(nl->sock);
	free(nl);
}

void batch_free(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		nlmsg_free(batch->messages[i]);
	batch->count = 0;
}

struct nl_msg *batch_add(struct batch *batch, int type, int flags, const void *header,
			 size_t length)
{
	struct nl_msg *message = NULL;
	if (batch->count < ARRAY_SIZE(batch->messages))
		message = nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags);
	if (!message || nlmsg_append(message, (void *)header, length, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(message);
		batch->failed = true;
		return NULL;
	}
	batch->messages[batch->count++] = message;
	return message;
}

void batch_put(struct batch *batch, int attribute, const void *bytes, size_t length)
{
	if (batch->failed ||
	    nla_put(batch->messages[batch->count - 1], attribute, (int)length, bytes))
		batch->failed = true;
}

void batch_put_u8(struct batch *batch, int attribute, uint8_t value)
{
	batch_put(batch, attribute, &value, sizeof(value));
}

void batch_put_u32(struct batch *batch, int attribute, uint32_t value)
{
	batch_put(batch, attribute, &value, sizeof(value));
}

void batch_put_text(struct batch *batch, int attribute, const char *text)
{
	batch_put(batch, attribute, text, strlen(text) + 1);
}

struct nlattr *batch_nest(struct batch *batch, int attribute)
{
	struct nlattr *nest = NULL;
	if (!batch->failed)
		nest = nla_nest_start(batch->messages[batch->count - 1], attribute | NLA_F_NESTED);
	batch->failed |= !nest;
	return nest;
}

void batch_nest_end(struct batch *batch, struct nlattr *nest)
{
	if (nest && !batch->failed)
		nla_nest_end(batch->messages[batch->count - 1], nest);
}

static int send_batch(struct netlink *nl, struct batch *batch, struct error *err)
{
	struct iovec parts[ARRAY_SIZE(batch->messages)];
	for (size_t i = 0; i < batch->count; i++) {
		struct nlmsghdr *header = nlmsg_hdr(batch->messages[i]);
		header->nlmsg_seq = ++nl->sequence;
		parts[i] = (struct iovec){header, NLMSG_ALIGN(header->nlmsg_len)};
	}
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = batch->count};
	if (sendmsg(nl_socket_get_fd(nl->sock), &message, 0) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot send to the kernel");
	return 0;
}

// The kernel's sentence that may come with an error (NETLINK_EXT_ACK); "" without one.
static const char *sentence_of(const struct nlmsghdr *header)
{
	struct nlattr *found;
	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    nlmsg_datalen(header) < (int)sizeof(struct nlmsgerr))
		return "";
	// With NETLINK_CAP_ACK the request is not repeated in the answer.
	found = nla_find(nlmsg_attrdata(header, sizeof(struct nlmsgerr)),
			 nlmsg_attrlen(header, sizeof(struct nlmsgerr)), NLMSGERR_ATTR_MSG);
	return found ? nla_get_string(found) : "";
}

static int report(const struct nlmsghdr *header, struct error *err)
{
	const struct nlmsgerr *answer = nlmsg_data(header);
	if (!answer->error)
		return 0;
	const char *sentence = sentence_of(header);
	return error_sys(err, ERR_NETWORK, -answer->error, "%s",
			 *sentence ? sentence : "the kernel refused");
}

// Reads answers until the one to request `last`. Requests on this kind of socket are done when
// sendmsg returns: the answers are there.
static int read_answers(struct netlink *nl, uint32_t first, uint32_t last, struct error *err)
{
	char bytes[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct error ignored;
	int result = 0;
	for (;;) {
		ssize_t got = recv(nl_socket_get_fd(nl->sock), bytes, sizeof(bytes), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_sys(err, ERR_NETWORK, errno, "no answer from the kernel");
		int left = (int)got;
		for (struct nlmsghdr *h = (void *)bytes; nlmsg_ok(h, left);
		     h = nlmsg_next(h, &left)) {
			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq < first)
				continue;
			if (report(h, result ? &ignored : err) < 0)
				result = -1;
			if (h->nlmsg_seq == last)
				return result;
		}
	}
}

int netlink_run(struct netlink *nl, struct batch *batch, struct error *err, const char *what, ...)
{
	uint32_t first = nl->sequence + 1;
	int result;
	if (batch->failed)
		result = error_set(err, ERR_NOMEM, "no memory for a netlink request");
	else if (batch->count == 0)
		return 0;
	else if ((result = send_batch(nl, batch, err)) == 0)
		result = read_answers(nl, first, nl->sequence, err);
	batch_free(batch);
	if (result < 0) {
		char context[200];
		va_list args;
		va_start(args, what);
		vsnprintf(context, sizeof(context), what, args);
		va_end(args);
		error_wrap(err, "%s", context);
	}
	return result;
}

void batch_add_fdb(struct batch *batch, unsigned ifindex, const struct mac *mac, enum fdb_kind kind)
{
	struct ndmsg header = {
		.ndm_family = PF_BRIDGE,
		.ndm_ifindex = (int)ifindex,
		.ndm_state = kind == FDB_STICKY ? NUD_NOARP : NUD_REACHABLE,
		.ndm_flags = (uint8_t)(NTF_MASTER | (kind == FDB_STICKY ? NTF_STICKY : 0)),
	};
	batch_add(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(header));
	batch_put(batch, NDA_LLADDR, mac->bytes, sizeof(mac->bytes));
}

void batch_add_port_state(struct batch *batch, unsigned ifindex, uint8_t state)
{
	struct ifinfomsg header = {.ifi_family = AF_BRIDGE, .ifi_index = (int)ifindex};
	batch_add(batch, RTM_SETLINK, 0, &header, sizeof(header));
	struct nlattr *nest = batch_nest(batch, IFLA_PROTINFO);
	batch_put_u8(batch, IFLA_BRPORT_STATE, state);
	batch_nest_end(batch, nest);
}

static void add_multicast_always(struct batch *batch, unsigned ifindex)
{
	struct ifinfomsg header = {.ifi_family = AF_BRIDGE, .ifi_index = (int)ifindex};
	batch_add(batch, RTM_SETLINK, 0, &header, sizeof(header));
	struct nlattr *nest = batch_nest(batch, IFLA_PROTINFO);
	batch_put_u8(batch, IFLA_BRPORT_MULTICAST_ROUTER, MDB_RTR_TYPE_PERM);
	batch_nest_end(batch, nest);
}

void batch_add_enslave(struct batch *batch, unsigned ifindex, unsigned bridge)
{
	struct ifinfomsg header = {.ifi_index = (int)ifindex};
	batch_add(batch, RTM_SETLINK, 0, &header, sizeof(header));
	batch_put_u32(batch, IFLA_MASTER, bridge);
	add_multicast_always(batch, ifindex);
}

void batch_add_no_ipv6_address(struct batch *batch, unsigned ifindex)
{
	struct ifinfomsg header = {.ifi_index = (int)ifindex};
	batch_add(batch, RTM_SETLINK, 0, &header, sizeof(header));
	struct nlattr *families = batch_nest(batch, IFLA_AF_SPEC);
	struct nlattr *v6 = batch_nest(batch, AF_INET6);
	batch_put_u8(batch, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	batch_nest_end(batch, v6);
	batch_nest_end(batch, families);
}

void batch_add_up(struct batch *batch, unsigned ifindex)
{
	struct ifinfomsg header = {
		.ifi_index = (int)ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	batch_add(batch, RTM_SETLINK, 0, &header, sizeof(header));
}

static void read_linkinfo(struct nlattr *attribute, struct link_facts *facts)
{
	struct nlattr *info[IFLA_INFO_MAX + 1], *data[IFLA_BR_MAX + 1], *port[IFLA_BRPORT_MAX + 1];
	if (nla_parse_nested(info, IFLA_INFO_MAX, attribute, NULL) < 0)
		return;
	if (info[IFLA_INFO_KIND])
		nla_strlcpy(facts->kind, info[IFLA_INFO_KIND], sizeof(facts->kind));
	if (info[IFLA_INFO_DATA] && !strcmp(facts->kind, "bridge") &&
	    !nla_parse_nested(data, IFLA_BR_MAX, info[IFLA_INFO_DATA], NULL))
		facts->stp = data[IFLA_BR_STP_STATE] && nla_get_u32(data[IFLA_BR_STP_STATE]);
	if (info[IFLA_INFO_SLAVE_DATA] && info[IFLA_INFO_SLAVE_KIND] &&
	    !strcmp(nla_get_string(info[IFLA_INFO_SLAVE_KIND]), "bridge") &&
	    !nla_parse_nested(port, IFLA_BRPORT_MAX, info[IFLA_INFO_SLAVE_DATA], NULL) &&
	    port[IFLA_BRPORT_STATE])
		facts->state = nla_get_u8(port[IFLA_BRPORT_STATE]);
}

static int read_link(struct nlmsghdr *header, struct link_facts *facts, struct error *err)
{
	const struct ifinfomsg *link = nlmsg_data(header);
	struct nlattr *tb[IFLA_MAX + 1];
	if (nlmsg_parse(header, sizeof(*link), tb, IFLA_MAX, NULL) < 0)
		return error_set(err, ERR_NETWORK, "the kernel's answer makes no sense");
	*facts = (struct link_facts){
		.ifindex = (unsigned)link->ifi_index,
		.up = link->ifi_flags & IFF_UP,
		.mtu = tb[IFLA_MTU] ? nla_get_u32(tb[IFLA_MTU]) : 1500,
		.master = tb[IFLA_MASTER] ? nla_get_u32(tb[IFLA_MASTER]) : 0,
		.oper_up = tb[IFLA_OPERSTATE] && nla_get_u8(tb[IFLA_OPERSTATE]) == IF_OPERSTATE_UP,
		.state = -1,
	};
	if (tb[IFLA_ADDRESS] && nla_len(tb[IFLA_ADDRESS]) == sizeof(facts->mac))
		memcpy(&facts->mac, nla_data(tb[IFLA_ADDRESS]), sizeof(facts->mac));
	if (tb[IFLA_LINKINFO])
		read_linkinfo(tb[IFLA_LINKINFO], facts);
	return 1;
}

static int ask_link(struct netlink *nl, const char *ifname, struct link_facts *facts,
		    struct error *err)
{
	_cleanup_batch_ struct batch batch = {0};
	// A link's description with all its statistics can be some pages long.
	char bytes[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct ifinfomsg link = {0};
	batch_add(&batch, RTM_GETLINK, 0, &link, sizeof(link));
	batch_put_text(&batch, IFLA_IFNAME, ifname);
	if (batch.failed)
		return error_set(err, ERR_NOMEM, "no memory for a netlink request");
	nlmsg_hdr(batch.messages[0])->nlmsg_flags = NLM_F_REQUEST; // the answer is the answer
	if (send_batch(nl, &batch, err) < 0)
		return -1;
	ssize_t got = recv(nl_socket_get_fd(nl->sock), bytes, sizeof(bytes), MSG_DONTWAIT);
	struct nlmsghdr *header = (void *)bytes;
	if (got < 0 || !nlmsg_ok(header, (int)got))
		return error_sys(err, ERR_NETWORK, got < 0 ? errno : EBADMSG,
				 "no answer from the kernel");
	if (header->nlmsg_type != NLMSG_ERROR)
		return read_link(header, facts, err);
	if (((struct nlmsgerr *)nlmsg_data(header))->error == -ENODEV)
		return 0;
	return report(header, err) < 0 ? -1 : 0;
}

int netlink_link(struct netlink *nl, const char *ifname, struct link_facts *facts,
		 struct error *err)
{
	int found = ask_link(nl, ifname, facts, err);
	if (found < 0)
		error_wrap(err, "cannot look at interface %s", ifname);
	return found;
}

int netlink_bridge(struct netlink *nl, const char *bridge, struct link_facts *facts,
		   struct error *err)
{
	int found = netlink_link(nl, bridge, facts, err);
	if (found < 0)
		return -1;
	if (!found)
		return error_set(err, ERR_BRIDGE_MISSING, "there is no bridge %s", bridge);
	if (strcmp(facts->kind, "bridge"))
		return error_set(err, ERR_BRIDGE_MISSING, "interface %s is not a bridge (%s)",
				 bridge, *facts->kind ? facts->kind : "a device");
	if (!facts->up)
		return error_set(err, ERR_BRIDGE_UNFIT, "bridge %s is down", bridge);
	if (facts->stp)
		return error_set(err, ERR_BRIDGE_UNFIT,
				 "bridge %s runs a spanning tree, which would undo the states that "
				 "we give to its ports",
				 bridge);
	return 0;
}

void netlink_ifname(const char *prefix, const char *partition, unsigned index, char name[IFNAMSIZ])
{
	uint64_t hash = XXH64(partition, strlen(partition), index);
	snprintf(name, IFNAMSIZ, "%s%012llx", prefix, (unsigned long long)(hash & 0xffffffffffffu));
}

void netlink_port_mac(const char *ifname, struct mac *mac)
{
	uint64_t hash = XXH64(ifname, strlen(ifname), 0);
	memcpy(mac->bytes, &hash, sizeof(mac->bytes));
	mac->bytes[0] = 0xfe; // locally administered, not a group
}
