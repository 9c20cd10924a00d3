// SPDX-License-Identifier: MIT
//
// C++17: the bus as an object that closes itself, with lambdas as handlers.
//
// The class owns the bus and the handlers, which must outlive it. A function of C type calls them
// and lets no exception out: an exception is a failed attempt, and the bus tries again.
#include <functional>
#include <iostream>
#include <list>
#include <memory>
#include <peal/peal.h>
#include <stdexcept>
#include <string_view>

namespace
{

class event_bus
{
  public:
    using handler = std::function<void(const peal_event *)>;

    explicit event_bus(const char *url, const peal_bus_options &options = {})
    {
        peal_bus *bus = nullptr;
        check(peal_bus_open(&bus, url, &options));
        bus_.reset(bus);
    }
    void on(const char *pattern, handler call, const peal_subscribe_options &options = {})
    {
        handler &kept = handlers_.emplace_back(std::move(call));
        check(peal_subscribe(nullptr, bus_.get(), pattern, &options, run, &kept));
    }
    void publish(const char *type, std::string_view data)
    {
        peal_message message = {};
        message.type = type;
        message.data = data.data();
        message.size = data.size();
        check(peal_publish(bus_.get(), &message, nullptr));
    }
    void dispatch()
    {
        check(peal_bus_dispatch(bus_.get(), 0, nullptr));
    }

  private:
    static void check(peal_err result)
    {
        if (result != PEAL_OK) {
            throw std::runtime_error(peal_error_sentence());
        }
    }
    static peal_verdict run(const peal_event *event, void *kept) noexcept
    {
        try {
            (*static_cast<handler *>(kept))(event);
            return PEAL_DONE;
        } catch (const std::exception &error) {
            peal_fail(event, "exception", error.what());
            return PEAL_RETRY;
        }
    }

    std::list<handler> handlers_; // before the bus, so that they are destroyed after it
    std::unique_ptr<peal_bus, decltype(&peal_bus_close)> bus_ = { nullptr, peal_bus_close };
};

} // namespace

int main()
try {
    int epochs = 0;
    int failures = 0;
    peal_bus_options alone = {};
    alone.workers = PEAL_NO_WORKERS;
    peal_subscribe_options hasty = {};
    hasty.retry.immediate = 1;

    event_bus bus("mem:", alone);
    auto on_epoch = [&](const peal_event *event) {
        if (epochs == 1 && failures++ == 0) {
            throw std::runtime_error("the disk is busy");
        }
        std::cout << "epoch " << ++epochs << ", attempt " << peal_event_attempt(event) << '\n';
    };
    bus.on("training.epoch.*", on_epoch, hasty);
    bus.publish("training.epoch.completed", R"({"loss":0.31})");
    bus.publish("training.epoch.completed", R"({"loss":0.12})");
    bus.dispatch();

    std::cout << epochs << " epochs, one of them after an exception\n";
    return epochs == 2 && failures > 0 ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
