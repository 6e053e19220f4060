// k-means and assignment for inverted lists, and facts about the FAISS that is linked.

#include "elanus_faiss.h"

#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <faiss/Clustering.h>
#include <faiss/Index.h>
#include <faiss/IndexFlat.h>
#include <faiss/utils/utils.h>

namespace {

template <class Action>
int guarded(char* error, Action action) {
    try {
        action();
        return 0;
    } catch (const std::exception& failure) {
        std::snprintf(error, 256, "%s", failure.what());
    } catch (...) {
        std::snprintf(error, 256, "unknown failure");
    }
    return 1;
}

faiss::MetricType metric_of(int inner_product) {
    return inner_product ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2;
}

} // namespace

int elanus_centroids(
        const float* values,
        size_t dimensions,
        size_t count,
        size_t lists,
        int spherical,
        int threads,
        float* centroids,
        char* error) {
    return guarded(error, [&] {
        omp_set_num_threads(std::max(1, threads));
        faiss::ClusteringParameters parameters;
        parameters.spherical = spherical != 0;
        parameters.niter = 10;
        parameters.min_points_per_centroid = 1;
        parameters.max_points_per_centroid = 256;
        faiss::Clustering clustering(static_cast<int>(dimensions), static_cast<int>(lists), parameters);
        faiss::IndexFlat quantizer(static_cast<faiss::idx_t>(dimensions), metric_of(spherical));
        clustering.train(static_cast<faiss::idx_t>(count), values, quantizer);
        std::memcpy(centroids, clustering.centroids.data(), lists * dimensions * sizeof(float));
    });
}

int elanus_assign(
        const float* centroids,
        size_t dimensions,
        size_t lists,
        int inner_product,
        const float* values,
        size_t count,
        int threads,
        uint32_t* assigned,
        char* error) {
    return guarded(error, [&] {
        omp_set_num_threads(std::max(1, threads));
        faiss::IndexFlat quantizer(static_cast<faiss::idx_t>(dimensions), metric_of(inner_product));
        quantizer.add(static_cast<faiss::idx_t>(lists), centroids);
        std::vector<float> distances(count);
        std::vector<faiss::idx_t> labels(count);
        quantizer.search(static_cast<faiss::idx_t>(count), values, 1, distances.data(), labels.data());
        for (size_t at = 0; at < count; at++) {
            assigned[at] = static_cast<uint32_t>(std::max<faiss::idx_t>(0, labels[at]));
        }
    });
}

const char* elanus_faiss_options() {
    static const std::string options = faiss::get_compile_options();
    return options.c_str();
}

int elanus_faiss_version() {
    return FAISS_VERSION_MAJOR * 10000 + FAISS_VERSION_MINOR * 100 + FAISS_VERSION_PATCH;
}
