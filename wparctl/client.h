// SPDX-License-Identifier: Apache-2.0
// libwpar as wparctl calls it: what the library says of a failure becomes an error of our own kind,
// so that the verbs know one kind only. A function that is missing here is added as one line.
#ifndef WPARCTL_CLIENT_H
#define WPARCTL_CLIENT_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/client/wpar.h"

// Fills *err (may be NULL) unless there is no error in `why`.
void client_error(struct error *err, const struct wpar_error *why);

#define CLIENT_CALL(function, err, ...)                          \
	({                                                       \
		struct wpar_error why_ = {0};                    \
		__auto_type got_ = function(__VA_ARGS__, &why_); \
		client_error(err, &why_);                        \
		got_;                                            \
	})

#define wpar_open(socket, err)      CLIENT_CALL(wpar_open, err, socket)
#define wpar_set_host(w, host, err) CLIENT_CALL(wpar_set_host, err, w, host)
#define wpar_set_key(w, key, err)   CLIENT_CALL(wpar_set_key, err, w, key)
#define wpar_pass_fd(w, fd, err)    CLIENT_CALL(wpar_pass_fd, err, w, fd)
#define wpar_call(w, method, path, body, ms, data, err) \
	CLIENT_CALL(wpar_call, err, w, method, path, body, ms, data)
#define wpar_version(w, answer, err) CLIENT_CALL(wpar_version, err, w, answer)
#define wpar_ready(w, answer, err)   CLIENT_CALL(wpar_ready, err, w, answer)
#define wpar_partitions(w, local, state, list, err) \
	CLIENT_CALL(wpar_partitions, err, w, local, state, list)
#define wpar_partition(w, name, answer, err) CLIENT_CALL(wpar_partition, err, w, name, answer)
#define wpar_create(w, body, answer, err)    CLIENT_CALL(wpar_create, err, w, body, answer)
#define wpar_start(w, name, err)             CLIENT_CALL(wpar_start, err, w, name)
#define wpar_stop(w, name, ms, kill, err)    CLIENT_CALL(wpar_stop, err, w, name, ms, kill)
#define wpar_restart(w, name, ms, kill, err) CLIENT_CALL(wpar_restart, err, w, name, ms, kill)
#define wpar_set(w, name, patch, seen, answer, err) \
	CLIENT_CALL(wpar_set, err, w, name, patch, seen, answer)
#define wpar_rename(w, name, to, err)    CLIENT_CALL(wpar_rename, err, w, name, to)
#define wpar_remove(w, name, flags, err) CLIENT_CALL(wpar_remove, err, w, name, flags)
#define wpar_validate(w, name, hosts, options, report, err) \
	CLIENT_CALL(wpar_validate, err, w, name, hosts, options, report)
#define wpar_relocate(w, name, host, options, move, err) \
	CLIENT_CALL(wpar_relocate, err, w, name, host, options, move)
#define wpar_moves(w, list, err) CLIENT_CALL(wpar_moves, err, w, list)
#define wpar_history(w, of, since, failed, list, err) \
	CLIENT_CALL(wpar_history, err, w, of, since, failed, list)
#define wpar_move(w, id, move, err) CLIENT_CALL(wpar_move, err, w, id, move)
#define wpar_cancel(w, id, err)     CLIENT_CALL(wpar_cancel, err, w, id)
#define wpar_recover(w, id, decision, answer, err) \
	CLIENT_CALL(wpar_recover, err, w, id, decision, answer)
#define wpar_adopt(w, names, from, reason, list, err) \
	CLIENT_CALL(wpar_adopt, err, w, names, from, reason, list)
#define wpar_hosts(w, list, err)              CLIENT_CALL(wpar_hosts, err, w, list)
#define wpar_host(w, host, answer, err)       CLIENT_CALL(wpar_host, err, w, host, answer)
#define wpar_cordon(w, host, reason, err)     CLIENT_CALL(wpar_cordon, err, w, host, reason)
#define wpar_uncordon(w, host, err)           CLIENT_CALL(wpar_uncordon, err, w, host)
#define wpar_check_host(w, host, answer, err) CLIENT_CALL(wpar_check_host, err, w, host, answer)
#define wpar_cluster_init(w, answer, err)     CLIENT_CALL(wpar_cluster_init, err, w, answer)
#define wpar_cluster_add_host(w, host, address, answer, err) \
	CLIENT_CALL(wpar_cluster_add_host, err, w, host, address, answer)
#define wpar_cluster_join(w, token, answer, err) \
	CLIENT_CALL(wpar_cluster_join, err, w, token, answer)
#define wpar_cluster_status(w, answer, err) CLIENT_CALL(wpar_cluster_status, err, w, answer)
#define wpar_cluster_renew(w, host, ca, answer, err) \
	CLIENT_CALL(wpar_cluster_renew, err, w, host, ca, answer)
#define wpar_cluster_revoke(w, host, reason, answer, err) \
	CLIENT_CALL(wpar_cluster_revoke, err, w, host, reason, answer)
#define wpar_cluster_remove_host(w, host, lost, reason, answer, err) \
	CLIENT_CALL(wpar_cluster_remove_host, err, w, host, lost, reason, answer)
#define wpar_cluster_trust_local(w, reason, answer, err) \
	CLIENT_CALL(wpar_cluster_trust_local, err, w, reason, answer)
#define wpar_stream_open(w, path, stream, err) CLIENT_CALL(wpar_stream_open, err, w, path, stream)
#define wpar_events(w, after, follow, stream, err) \
	CLIENT_CALL(wpar_events, err, w, after, follow, stream)
#define wpar_move_events(w, id, stream, err) CLIENT_CALL(wpar_move_events, err, w, id, stream)
#define wpar_move_events_after(w, id, after, stream, err) \
	CLIENT_CALL(wpar_move_events_after, err, w, id, after, stream)
#define wpar_logs(w, name, follow, since, stream, err) \
	CLIENT_CALL(wpar_logs, err, w, name, follow, since, stream)
#define wpar_stream_read(s, wake, deadline, bytes, length, err) \
	CLIENT_CALL(wpar_stream_read, err, s, wake, deadline, bytes, length)
#define wpar_stream_event(s, wake, deadline, event, err) \
	CLIENT_CALL(wpar_stream_event, err, s, wake, deadline, event)
#define wpar_exec(w, name, request, session, err) \
	CLIENT_CALL(wpar_exec, err, w, name, request, session)
#define wpar_exec_send(s, channel, bytes, length, err) \
	CLIENT_CALL(wpar_exec_send, err, s, channel, bytes, length)
#define wpar_exec_resize(s, rows, cols, err) CLIENT_CALL(wpar_exec_resize, err, s, rows, cols)
#define wpar_exec_flush(s, err)              CLIENT_CALL(wpar_exec_flush, err, s)
#define wpar_exec_receive(s, frame, err)     CLIENT_CALL(wpar_exec_receive, err, s, frame)

#endif
