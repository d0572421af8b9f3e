// SPDX-License-Identifier: Apache-2.0
// Early return for operating errors. Use only inside functions that return Status or Result<T>.
#pragma once

#include "daruma/status.h"

#define DARUMA_CONCAT_INNER(a, b) a##b
#define DARUMA_CONCAT(a, b) DARUMA_CONCAT_INNER(a, b)

#define DARUMA_TRY(expression)                                                  \
  do {                                                                          \
    if (::daruma::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

#define DARUMA_TRY_ASSIGN(declaration, expression)                                              \
  auto DARUMA_CONCAT(result_, __LINE__) = (expression);                                         \
  if (!DARUMA_CONCAT(result_, __LINE__).ok()) return DARUMA_CONCAT(result_, __LINE__).status(); \
  declaration = std::move(DARUMA_CONCAT(result_, __LINE__)).value()
