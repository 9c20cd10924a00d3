// SPDX-License-Identifier: MIT
//
// Guard: may this request be served? Who asks, from which page, and what for.
//
// - Who: a bearer token (auth.h), where tokens are configured. The right of the route says what it
//   needs; each type is asked about where an event is published or handed out.
// - From which page: a browser says so in Origin. What changes something, and sockets, are only for
//   pages of this service's own origin and of those in cors.origins; so a page somebody visits
//   cannot work with a service on his machine.
// - By which name: without tokens, Host has to be an address, localhost, or a host of cors.origins;
//   else a name that an attacker has pointed to this machine would be an origin of its own.
//
// Threads: the loop's, but for the questions about types, which any may ask.
#ifndef SERVICE_GUARD_H
#define SERVICE_GUARD_H

#include "service/call.h"

// Looks at a request; the call has its identity then. False: it has failed with a sentence.
bool service_guard(struct service_call *call);

// May a page of this origin (as the header has it) work with the service?
bool service_origin_is_good(const struct service *service, const struct net_head *head);

// Is it a preflight (CORS)? Then it is answered.
bool service_answer_preflight(struct net_request *request, struct service *service);

#endif
