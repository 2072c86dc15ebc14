#pragma once
// Elementary functions on sixteen lanes.

namespace iol::cpu {
namespace {

/// e^x: n = round(x / ln 2), a polynomial of degree 6 on the rest (|r| <= ln 2 / 2), times 2^n.
/// Relative error below 2e-7; below -87.3 the result flushes towards 0; NaN gives NaN or 0.
template <class S>
inline typename S::F exponential(typename S::F x) {
  x = S::max(S::min(x, S::broadcast(88.0F)), S::broadcast(-104.0F));
  const auto n = S::round(S::mul(x, S::broadcast(1.44269504088896341F)));
  // ln 2 in two parts, the first with trailing zeros, so that n * hi is exact.
  auto r = S::fma(n, S::broadcast(-0.693359375F), x);
  r = S::fma(n, S::broadcast(2.12194440e-4F), r);
  auto p = S::broadcast(1.0F / 720);
  p = S::fma(p, r, S::broadcast(1.0F / 120));
  p = S::fma(p, r, S::broadcast(1.0F / 24));
  p = S::fma(p, r, S::broadcast(1.0F / 6));
  p = S::fma(p, r, S::broadcast(0.5F));
  p = S::fma(p, r, S::broadcast(1.0F));
  p = S::fma(p, r, S::broadcast(1.0F));
  return S::ldexp(p, n);
}

/// x / (1 + e^-x)
template <class S>
inline typename S::F silu(typename S::F x) {
  const auto one = S::broadcast(1.0F);
  return S::div(x, S::add(one, exponential<S>(S::sub(S::zero(), x))));
}

}  // namespace
}  // namespace iol::cpu
