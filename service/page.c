// SPDX-License-Identifier: MIT
//
// GET /: the dashboard, which is one page (dashboard.h). It asks for a token itself if one is
// needed.
#include "service/config.h"
#include "service/dashboard.h"
#include "service/events.h"

#include <string.h>

// Is gzip among the codings that are taken? "gzip;q=0" says that it is not (RFC 9110, 12.5.3).
static bool takes_gzip(const struct net_head *head)
{
    struct net_part codings = net_head_find(head, "accept-encoding");
    const char *at = codings.bytes ? memmem(codings.bytes, codings.size, "gzip", 4) : NULL;
    if (!at) {
        return false;
    }
    const char *end = codings.bytes + codings.size;
    for (at += 4; at < end && (*at == ' ' || *at == ';'); at++) {
    }
    if (end - at < 3 || memcmp(at, "q=0", 3) != 0) {
        return true;
    }
    for (at += 2; at < end && (*at == '0' || *at == '.'); at++) {
    }
    return at < end && *at != ',' && *at != ' '; // a digit: more than nothing
}

void service_get_dashboard(struct service_call *call)
{
    bool off = call->service->config && !call->service->config->dashboard;
    if (service_dashboard_size == 0 || off) {
        service_refuse(call, 404, "notfound", "%s; the API is at /v1, docs/http.md has its calls",
                       off ? "the dashboard is switched off"
                           : "this peal was built without a dashboard");
    } else {
        if (takes_gzip(call->head)) {
            net_text_add(&call->text, service_dashboard, service_dashboard_size);
            service_header(call, "Content-Encoding", "gzip");
        } else {
            net_text_add(&call->text, service_dashboard_plain, service_dashboard_plain_size);
        }
        service_header(call, "Vary", "Accept-Encoding");
        call->type = "text/html; charset=utf-8";
        call->status = 200;
        service_header(call, "Content-Security-Policy", service_dashboard_policy);
        service_header(call, "Cache-Control", "no-cache");
        service_header(call, "Referrer-Policy", "no-referrer");
    }
}
