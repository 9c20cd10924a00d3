# SPDX-License-Identifier: MIT
#
# cmake -DFROM=... -DTO=... -DNPM=... -P install.cmake: brings the npm packages of package-lock.json
# into a folder of the build. Nothing of them is in the tree, and none of their scripts runs.
file(MAKE_DIRECTORY ${TO})
file(COPY ${FROM}/package.json ${FROM}/package-lock.json ${FROM}/.npmrc DESTINATION ${TO})
execute_process(COMMAND ${NPM} ci --ignore-scripts --loglevel=error WORKING_DIRECTORY ${TO}
    RESULT_VARIABLE failed OUTPUT_QUIET)
if(failed)
    message(FATAL_ERROR "npm could not bring the packages of ${FROM}/package-lock.json")
endif()
file(TOUCH ${TO}/installed.stamp)
