// The graph builder: FAISS' HNSW over a storage that reads rows in place.
//
// The storage computes the four metrics as distances (smaller is nearer), so FAISS always sees an L2-like metric. Cosine
// uses the rows as they are with their inverse lengths beside them; a row of length 0 must not be among the nodes.

#include "elanus_faiss.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include <faiss/Index.h>
#include <faiss/IndexHNSW.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/FaissAssert.h>
#include <faiss/utils/distances.h>

namespace {

using faiss::idx_t;

struct Rows : faiss::Index {
    ElanusRows rows;
    int kind;
    std::vector<float> inverse_lengths;

    Rows(const ElanusRows& rows, int kind)
            : faiss::Index(static_cast<idx_t>(rows.dimensions), faiss::METRIC_L2), rows(rows), kind(kind) {
        if (kind == ELANUS_COSINE) {
            inverse_lengths.resize(rows.count);
#pragma omp parallel for
            for (int64_t node = 0; node < static_cast<int64_t>(rows.count); node++) {
                inverse_lengths[node] = 1.0f / std::sqrt(faiss::fvec_norm_L2sqr(row(node), rows.dimensions));
            }
        }
    }

    const float* row(idx_t node) const {
        size_t ordinal = rows.ordinals ? rows.ordinals[node] : static_cast<size_t>(node);
        return rows.values + ordinal * rows.dimensions;
    }

    // Nodes are there already; adding makes the next ones known.
    void add(idx_t n, const float*) override {
        ntotal += n;
    }
    void reset() override {
        ntotal = 0;
    }
    void search(idx_t, const float*, idx_t, float*, idx_t*, const faiss::SearchParameters*) const override {
        FAISS_THROW_MSG("rows are not searched here");
    }
    faiss::DistanceComputer* get_distance_computer() const override;
};

template <int Kind>
struct RowDistances : faiss::DistanceComputer {
    const Rows& storage;
    const float* query = nullptr;
    float query_scale = 1;
    size_t d;

    explicit RowDistances(const Rows& storage) : storage(storage), d(storage.rows.dimensions) {}

    // The graph builder names a node by where its row would be if node i were row i.
    void set_query(const float* x) override {
        idx_t node = (x - storage.rows.values) / static_cast<idx_t>(d);
        query = storage.row(node);
        if (Kind == ELANUS_COSINE) {
            query_scale = storage.inverse_lengths[node];
        }
    }

    float between(const float* a, const float* b) const {
        switch (Kind) {
            case ELANUS_L2:
                return faiss::fvec_L2sqr(a, b, d);
            case ELANUS_L1:
                return faiss::fvec_L1(a, b, d);
            default:
                return faiss::fvec_inner_product(a, b, d);
        }
    }

    float finish(float value, float scale, idx_t node) const {
        switch (Kind) {
            case ELANUS_INNER_PRODUCT:
                return -value;
            case ELANUS_COSINE:
                return 1.0f - value * scale * storage.inverse_lengths[node];
            default:
                return value;
        }
    }

    float operator()(idx_t i) override {
        return finish(between(query, storage.row(i)), query_scale, i);
    }

    void distances_batch_4(
            const idx_t i0,
            const idx_t i1,
            const idx_t i2,
            const idx_t i3,
            float& d0,
            float& d1,
            float& d2,
            float& d3) override {
        const float *r0 = storage.row(i0), *r1 = storage.row(i1), *r2 = storage.row(i2), *r3 = storage.row(i3);
        if (Kind == ELANUS_L2) {
            faiss::fvec_L2sqr_batch_4(query, r0, r1, r2, r3, d, d0, d1, d2, d3);
        } else if (Kind == ELANUS_L1) {
            d0 = between(query, r0), d1 = between(query, r1), d2 = between(query, r2), d3 = between(query, r3);
        } else {
            faiss::fvec_inner_product_batch_4(query, r0, r1, r2, r3, d, d0, d1, d2, d3);
        }
        d0 = finish(d0, query_scale, i0), d1 = finish(d1, query_scale, i1);
        d2 = finish(d2, query_scale, i2), d3 = finish(d3, query_scale, i3);
    }

    float symmetric_dis(idx_t i, idx_t j) override {
        float scale = Kind == ELANUS_COSINE ? storage.inverse_lengths[i] : 1;
        return finish(between(storage.row(i), storage.row(j)), scale, j);
    }
};

faiss::DistanceComputer* Rows::get_distance_computer() const {
    switch (kind) {
        case ELANUS_L2:
            return new RowDistances<ELANUS_L2>(*this);
        case ELANUS_INNER_PRODUCT:
            return new RowDistances<ELANUS_INNER_PRODUCT>(*this);
        case ELANUS_COSINE:
            return new RowDistances<ELANUS_COSINE>(*this);
        default:
            return new RowDistances<ELANUS_L1>(*this);
    }
}

void explain(char* error, const char* reason) {
    std::snprintf(error, 256, "%s", reason);
}

} // namespace

struct ElanusGraph {
    std::unique_ptr<Rows> rows;
    std::unique_ptr<faiss::IndexHNSW> index;
};

int elanus_graph_build(
        const ElanusRows* rows,
        int metric,
        int m,
        int ef_construction,
        int threads,
        ElanusProgress progress,
        void* context,
        ElanusGraph** graph,
        char* error) {
    try {
        omp_set_num_threads(std::max(1, threads));
        auto built = std::make_unique<ElanusGraph>();
        built->rows = std::make_unique<Rows>(*rows, metric);
        built->index = std::make_unique<faiss::IndexHNSW>(built->rows.get(), m);
        built->index->hnsw.efConstruction = ef_construction;
        // Chunks long enough that a barrier at their end costs nothing, short enough to be a progress report.
        size_t chunk = std::max<size_t>(2000, rows->count / 64);
        for (size_t done = 0; done < rows->count;) {
            size_t next = std::min(chunk, rows->count - done);
            built->index->add(static_cast<idx_t>(next), rows->values + done * rows->dimensions);
            done += next;
            if (progress(context, done) != 0) {
                explain(error, "canceled");
                return 1;
            }
        }
        *graph = built.release();
        return 0;
    } catch (const std::exception& failure) {
        explain(error, failure.what());
    } catch (...) {
        explain(error, "unknown failure");
    }
    return 1;
}

void elanus_graph_free(ElanusGraph* graph) {
    delete graph;
}

void elanus_graph_parts(const ElanusGraph* graph, ElanusGraphParts* parts) {
    const faiss::HNSW& hnsw = graph->index->hnsw;
    parts->levels = hnsw.levels.data();
    parts->offsets = hnsw.offsets.data();
    parts->neighbours = hnsw.neighbors.data();
    parts->neighbour_count = hnsw.neighbors.size();
    parts->entry = hnsw.entry_point;
    parts->top_layer = hnsw.max_level;
}
