// SPDX-License-Identifier: MIT
//
// What calls that read events share: their parameters, and the way to the next page.
#ifndef SERVICE_QUERY_H
#define SERVICE_QUERY_H

#include "service/events.h"

// False: the call has failed with a sentence.
bool service_read_query(struct service_call *call, struct peal_query *out); // what it points to is
                                                                            // the call's
bool service_read_order(struct service_call *call, bool *out_backwards);
bool service_read_limit(struct service_call *call, uint64_t *out);
enum { SERVICE_PAGE_BYTES = 8 << 20 }; // of a page, whatever its limit: the next one goes on
// Link: <path?after=...>; rel="next", with the other parameters as they were.
void service_link_next(struct service_call *call, const char *path, uint64_t cursor);

#endif
