// SPDX-License-Identifier: MIT
//
// Blocking sockets: a measurement has its own process, and each of its clients a thread.
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEP_NS = 200000, ATTEMPTS = 50000, QUIET_MS = 10000 };

static struct bench_sizes sizes;
static char place[200]; // of all services' folders

static void remove_folder(const char *folder)
{
    char command[320];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command)) { // NOLINT(cert-env33-c, concurrency-mt-unsafe): a folder of our own
        bench_die("%s: cannot be removed", folder);
    }
}

void service_begin(const struct bench_sizes *given)
{
    sizes = *given;
    const char *base =
        sizes.folder ? sizes.folder : getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe)
    (void)snprintf(place, sizeof place, "%s/peal-bench-XXXXXX", base ? base : "/var/tmp");
    if (!mkdtemp(place)) {
        bench_die("%s: cannot be made: %s", place, strerrordesc_np(errno));
    }
}

void service_end(void)
{
    remove_folder(place);
}

uint64_t service_count(uint64_t count)
{
    return sizes.quick ? count / 100 + 1 : count;
}

void service_folder(char *out, size_t room, const char *name)
{
    (void)snprintf(out, room, "%s/%s-XXXXXX", place, name);
    if (!mkdtemp(out)) {
        bench_die("%s: cannot be made: %s", out, strerrordesc_np(errno));
    }
}

uint64_t service_large(void)
{
    uint64_t large = sizes.large ? sizes.large : 10000000;
    return sizes.quick ? 100000 : large;
}

const char *service_place(void)
{
    return place;
}

// ---- the service --------------------------------------------------------------------------------

static void run_service(const struct service_process *process)
{
    char url[300], port[300];
    (void)snprintf(url, sizeof url, "file:%s%s", process->log ? process->log : process->folder,
                   process->log ? "" : "/log");
    (void)snprintf(port, sizeof port, "%s/port", process->folder);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(nothing, STDOUT_FILENO);
    (void)dup2(nothing, STDERR_FILENO); // its journal; what goes wrong is seen by who waits for it
    (void)execl(PEAL_PROGRAM, PEAL_PROGRAM, "serve", "--url", url, "--listen", "127.0.0.1:0",
                "--port-file", port, "--quiet", NULL);
    _exit(127);
}

static int read_port(const struct service_process *process)
{
    char path[300];
    int port = 0;
    (void)snprintf(path, sizeof path, "%s/port", process->folder);
    FILE *file = fopen(path, "re");
    if (file) {
        char line[16] = "";
        if (fgets(line, sizeof line, file) && strchr(line, '\n')) {
            port = (int)strtol(line, NULL, 10);
        }
        (void)fclose(file); // was only read
    }
    return port;
}

void service_start_on(struct service_process *out, const char *log)
{
    *out = (struct service_process){ .log = log };
    service_folder(out->folder, sizeof out->folder, "service");
    out->begun = bench_now_ns();
    out->pid = fork();
    if (out->pid == 0) {
        run_service(out);
    }
    for (int i = 0; (out->port = read_port(out)) == 0; i++) {
        if (i == ATTEMPTS || waitpid(out->pid, NULL, WNOHANG) != 0) {
            bench_die("%s serve has not started", PEAL_PROGRAM);
        }
        bench_sleep_ns(STEP_NS);
    }
}

void service_start(struct service_process *out)
{
    service_start_on(out, NULL);
}

void service_stop(struct service_process *process)
{
    (void)kill(process->pid, SIGTERM);
    (void)waitpid(process->pid, NULL, 0);
    remove_folder(process->folder);
}

// ---- bytes --------------------------------------------------------------------------------------

bool client_can_open(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool can = probe >= 0 && !connect(probe, (struct sockaddr *)&address, sizeof address);
    (void)close(probe);
    return can;
}

void client_open(struct client *client, int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *client = (struct client){ .socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                               .bytes = malloc(CLIENT_ROOM + 1) };
    if (client->socket < 0 || !client->bytes ||
        connect(client->socket, (struct sockaddr *)&address, sizeof address)) {
        bench_die("cannot connect: %s", strerrordesc_np(errno));
    }
    (void)setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void client_close(struct client *client)
{
    (void)close(client->socket);
    free(client->bytes);
}

void client_send(const struct client *client, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(client->socket, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            bench_die("cannot send: %s", strerrordesc_np(errno));
        }
        at += sent;
        size -= (size_t)sent;
    }
}

// More bytes behind those that are there.
void client_receive(struct client *client)
{
    if (client->from == client->to) {
        client->from = client->to = 0;
    }
    if (client->to == CLIENT_ROOM) {
        memmove(client->bytes, client->bytes + client->from, client->to - client->from);
        client->to -= client->from;
        client->from = 0;
    }
    struct pollfd waiting = { .fd = client->socket, .events = POLLIN };
    ssize_t got =
        recv(client->socket, client->bytes + client->to, CLIENT_ROOM - client->to, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN && poll(&waiting, 1, QUIET_MS) == 1) {
        got = recv(client->socket, client->bytes + client->to, CLIENT_ROOM - client->to, 0);
    }
    if (got <= 0) {
        bench_die("nothing comes: %s", got ? strerrordesc_np(errno) : "the service has closed");
    }
    client->to += (size_t)got;
}

// The head of an answer; its status. It ends the bytes with a zero.
static int read_head(struct client *client, char **out_head)
{
    for (;;) {
        client->bytes[client->to] = 0;
        char *head = client->bytes + client->from;
        char *end = strstr(head, "\r\n\r\n");
        if (end) {
            end[2] = 0;
            client->from += (size_t)(end + 4 - head);
            *out_head = head;
            return (int)strtol(head + 9, NULL, 10); // behind "HTTP/1.1 "
        }
        client_receive(client);
    }
}

int client_answer(struct client *client)
{
    char *head = NULL;
    int status = read_head(client, &head);
    const char *length = strcasestr(head, "\r\ncontent-length:");
    size_t size = length ? strtoul(length + 17, NULL, 10) : 0;
    while (client->to - client->from < size) {
        client_receive(client);
    }
    client->from += size;
    return status;
}

// ---- streams ------------------------------------------------------------------------------------

void client_live(struct client *client, int port, const char *query, bool frames)
{
    char request[512], *head = NULL;
    int size =
        snprintf(request, sizeof request, "GET /v1/%s?%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
                 frames ? "ws" : "stream", query,
                 frames ? "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        : "");
    client_open(client, port);
    client->frames = frames;
    client_send(client, request, (size_t)size);
    int status = read_head(client, &head);
    if (status != (frames ? 101 : 200)) {
        bench_die("a stream was answered %d", status);
    }
}

// The frames that begin in what is there; the head of the last may not be whole.
static size_t count_frames(struct client *client)
{
    size_t count = 0;
    for (;;) {
        size_t there = client->to - client->from;
        size_t part = client->left < there ? (size_t)client->left : there;
        const unsigned char *at = (const unsigned char *)client->bytes + client->from + part;
        client->left -= part;
        client->from += part;
        there -= part;
        size_t head = there < 2 ? 2 : (at[1] == 126 ? 4 : at[1] == 127 ? 10 : 2);
        if (there < head) {
            return count;
        }
        uint64_t size = head == 2 ? at[1] : 0;
        for (size_t i = 2; i < head; i++) {
            size = size << 8 | at[i];
        }
        client->from += head;
        client->left = size;
        count += at[0] == 0x81; // text
    }
}

// Lines that begin with "data:"; the last may not be whole. The length of a chunk is a line of its
// own and may begin with "da", never with "dat".
static size_t count_lines(struct client *client)
{
    size_t count = 0;
    char *at = client->bytes + client->from, *end = client->bytes + client->to, *next;
    while ((next = memchr(at, '\n', (size_t)(end - at)))) {
        count += next - at > 3 && memcmp(at, "dat", 3) == 0;
        at = next + 1;
    }
    client->from = (size_t)(at - client->bytes);
    return count;
}

size_t client_count(struct client *client)
{
    client_receive(client);
    return client->frames ? count_frames(client) : count_lines(client);
}

// ---- publishing ---------------------------------------------------------------------------------

enum { BLOCK = 512 }; // events that are sent at once

void client_publish(int port, uint64_t count)
{
    static const char line[] = "{\"specversion\":\"1.0\",\"type\":\"bench.event\","
                               "\"source\":\"/bench\",\"data\":" CLIENT_DATA "}\n";
    struct client client;
    char head[256];
    char *block = malloc(BLOCK * sizeof line);
    size_t size = sizeof line - 1;
    if (!block) {
        bench_die("no memory");
    }
    for (size_t i = 0; i < BLOCK; i++) {
        memcpy(block + i * size, line, size);
    }
    client_open(&client, port);
    int length = snprintf(head, sizeof head,
                          "POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Type: application/x-ndjson\r\nContent-Length: %llu\r\n\r\n",
                          (unsigned long long)(count * size));
    client_send(&client, head, (size_t)length);
    for (uint64_t sent = 0; sent < count;) {
        uint64_t now = count - sent < BLOCK ? count - sent : BLOCK;
        client_send(&client, block, (size_t)now * size);
        sent += now;
    }
    int status = client_answer(&client);
    if (status != 200) {
        bench_die("publishing was answered %d", status);
    }
    client_close(&client);
    free(block);
}
